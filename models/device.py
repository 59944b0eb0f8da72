"""Which device a network runs on, how it is said, and at which precision."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager

import torch

from cmlcore.errors import ModelError
from cmlcore.settings import settings


def choose_device(wanted: str = "auto") -> torch.device:
    """The device asked for; "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        ModelError: the device is unknown or not there.

    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ModelError(f"“{wanted}” is not a device; use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"The device {wanted} is not there; choose auto or cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("The device mps is not there; choose auto or cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"“{wanted}” is not a device CMLscope runs on; use auto, cpu, cuda, cuda:N or mps.")
    return device


def set_threads(threads: int) -> int:
    """Let torch use ``threads`` CPU threads; returns the number set.

    0: as many as ``CML_THREADS`` says, or else every core this process may use.
    """
    n = threads or settings().threads
    n = n or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    torch.set_num_threads(n)
    return n


def half_type(device: torch.device) -> torch.dtype | None:
    """The 16-bit type worth computing in, or None where float32 is the better choice."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and _cpu_has_bf16():
        return torch.bfloat16
    return None


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision where ``half_type`` names one, else nothing."""
    dtype = half_type(device)
    return torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()


def describe(device: torch.device, half: bool = True, engine: str = "") -> str:
    """The device as people read it, such as "CPU (2 threads, bf16)" or "NVIDIA H100 (bf16)".

    ``half`` is False for a network that computes in float32 everywhere; ``engine`` names what runs it on a
    CPU in place of torch.
    """
    short = {torch.bfloat16: "bf16", torch.float16: "fp16", None: "fp32"}[half_type(device) if half else None]
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({short})"
    if device.type == "mps":
        return f"Apple GPU ({short})"
    n = torch.get_num_threads()
    name = f"CPU, {engine}" if engine else "CPU"
    return f"{name} ({n} thread{'s' if n > 1 else ''}, {short})"


def _cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware (AVX512-BF16, AMX); elsewhere fp32 is faster."""
    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capability:
        return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, c)()) for c in checks if hasattr(torch.cpu, c))
