"""The catalogue of public sets, and the road from their download to a folder that ``load`` reads.

No set is shipped. Each entry names its source's own page, and where the source gives one, the address of the
file; sources that ask for a browser (or a plug-in) are fetched by hand and given with ``--from``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cmlcore.errors import InputError, StorageError
from cmlcore.ground_truth import lay_out
from cmlcore.ground_truth.fetch import FetchError, Progress, fetch, unpacked
from cmlcore.ground_truth.sets import is_set


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One public set.

    Attributes:
        key: its name here, and of its folder.
        title: what it is called.
        covers: what its labels cover.
        licence: of images and labels, as far as their source says.
        size: about how much there is.
        page: its source's own page.
        file: what is to be fetched there.
        url: the address of that file; None where a browser is needed.
        sha256: of that file, where its maker gives it.
        lay: lays the unpacked original out in a folder.

    """

    key: str
    title: str
    covers: str
    licence: str
    size: str
    page: str
    file: str
    url: str | None
    sha256: str | None
    lay: Callable[[Path, Path], int]


_SETS = (
    PublicSet(
        "txl_pbc",
        "TXL-PBC (Gan et al. 2024): BCCD, BCD, PBC and Raabin-WBC, labelled anew",
        "boxes of all erythrocytes, leukocytes and thrombocytes",
        "MIT; the Raabin part is free for research",
        "1,260 images, about 65 MB",
        "https://github.com/lugan113/TXL-PBC_Dataset",
        "the repository as ZIP (Code, Download ZIP)",
        "https://github.com/lugan113/TXL-PBC_Dataset/archive/HEAD.zip",
        None,
        lay_out.txl_pbc,
    ),
    PublicSet(
        "bccd",
        "BCCD (Shenggan, cosmicad): the original labels",
        "boxes; leukocytes complete, many erythrocytes and thrombocytes unlabelled",
        "MIT",
        "364 images, about 8 MB",
        "https://github.com/Shenggan/BCCD_Dataset",
        "the repository as ZIP (Code, Download ZIP)",
        "https://github.com/Shenggan/BCCD_Dataset/archive/HEAD.zip",
        None,
        lay_out.bccd,
    ),
    PublicSet(
        "bbbc041seg",
        "BBBC041Seg (Depto et al. 2021): masks on the malaria smears of BBBC041",
        "outlines of erythrocytes; overlapping ones are one piece and ignored",
        "masks MIT, images CC BY-NC-SA 3.0: not for commercial use",
        "1,328 images, about 4 GB",
        "https://github.com/Deponker/Blood-cell-segmentation-dataset",
        "the ZIP behind the Google Drive link of its README",
        None,
        None,
        lay_out.bbbc041seg,
    ),
    PublicSet(
        "krd_wbc",
        "KRD-WBC (Taha et al. 2023)",
        "the outline of one leukocyte an image, 5 classes; other cells unlabelled",
        "see its page (usually CC BY 4.0)",
        "600 images, about 100 MB",
        "https://data.mendeley.com/datasets/jzdj6h7gms/2",
        "“Download All”",
        "https://data.mendeley.com/public-api/zip/jzdj6h7gms/download/2",
        None,
        lay_out.krd_wbc,
    ),
    PublicSet(
        "zxaoyou_ds2",
        "Dataset 2 of Zheng et al. 2018 (CellaVision)",
        "outlines of nucleus and cytoplasm of one leukocyte an image, 5 classes",
        "GPL-3.0; please cite",
        "100 images, about 30 MB",
        "https://github.com/zxaoyou/segmentation_WBC",
        "the repository as ZIP (Code, Download ZIP)",
        "https://github.com/zxaoyou/segmentation_WBC/archive/HEAD.zip",
        None,
        lay_out.zxaoyou_ds2,
    ),
    PublicSet(
        "pbc",
        "PBC (Acevedo et al. 2020): single cells for classifiers",
        "one class an image, 11 classes with the immature granulocytes; no outlines",
        "CC BY 4.0",
        "17,092 images, about 270 MB",
        "https://data.mendeley.com/datasets/snkd93bnjr/1",
        "PBC_dataset_normal_DIB.zip (“Download All”)",
        "https://data.mendeley.com/public-api/zip/snkd93bnjr/download/1",
        None,
        lay_out.pbc,
    ),
    PublicSet(
        "matek",
        "AML-Cytomorphology_LMU (Matek et al. 2019): single cells for classifiers",
        "one class an image, the 15 classes of acute myeloid leukaemia; no outlines",
        "CC BY 3.0",
        "18,365 images, about 11 GB",
        "https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/",
        "the images (with the Aspera plug-in) and annotations.dat",
        None,
        None,
        lay_out.matek,
    ),
)
PUBLIC: dict[str, PublicSet] = {s.key: s for s in _SETS}


def short_name(name: str) -> str:
    """What a public set is called, without its authors; another name as it is."""
    return PUBLIC[name].title.partition(" (")[0] if name in PUBLIC else name


def get_public(name: str, to: Path, given: Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch a public set and lay it out in ``to / name``, whole or not at all.

    Args:
        name: a key of ``PUBLIC``.
        to: the folder of data sets.
        given: the file or folder of the original, or of a set laid out already, where it was fetched by
            hand; None: from the network.
        progress: called as it goes on.

    Returns:
        The folder.

    Raises:
        InputError: the set is unknown or there already, or what was given is not it.
        FetchError: it cannot be fetched; the message says how to do it by hand.
        StorageError: the disk is full or cannot be written.

    """
    if name not in PUBLIC:
        raise InputError(f"“{name}” is no public set; known are {', '.join(PUBLIC)}.")
    public, folder = PUBLIC[name], to / name
    if folder.exists():
        raise InputError(f"{folder} is there already; train with it, or remove it to fetch the set anew.")
    if given is not None and not given.exists():
        raise InputError(f"{given} does not exist; check the path after --from.")
    work = to / f".{name}.part"
    try:
        work.mkdir(parents=True, exist_ok=True)
        original = given if given is not None else _fetched(public, work, progress)
        if original.is_file():
            shutil.rmtree(work / "original", ignore_errors=True)
            unpacked(original, work / "original", progress)
            original = work / "original"
        laid = work / name
        shutil.rmtree(laid, ignore_errors=True)
        if _is_ready(original, name):
            shutil.copytree(original, laid)
        elif public.lay(original, laid) == 0:
            raise InputError(
                f"{given or public.file} does not hold {public.title}; get it from {public.page}."
            )
        laid.replace(folder)
        shutil.rmtree(work, ignore_errors=True)
    except OSError as e:
        raise StorageError(f"{to} cannot be written; make room or choose another folder with --to.") from e
    finally:
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()
    return folder


def _fetched(public: PublicSet, work: Path, progress: Progress | None) -> Path:
    by_hand = (
        f"Fetch {public.file} from {public.page} on a machine with a network and give it with "
        f"cmlscope data get {public.key} --from FILE."
    )
    if public.url is None:
        raise FetchError(f"The source of {public.key} needs a browser. {by_hand}")
    path = work / f"{public.key}.zip"
    if not path.is_file():
        try:
            fetch(public.url, path, public.sha256, progress)
        except FetchError as e:
            raise FetchError(f"{e} {by_hand}") from e
    return path


def _is_ready(folder: Path, name: str) -> bool:
    """Whether a folder is the set as it is laid out here."""
    if folder.name == name and is_set(folder):
        return True
    laid = (folder / "train", folder / "val")
    return name in ("bccd", "pbc") and all(p.is_dir() for p in laid)
