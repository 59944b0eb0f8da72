"""The evaluate page's parts: what to judge and against what, and how stored evaluations are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from cmlcore import store
from cmlcore.demo import demo_path, truth_path
from cmlcore.errors import CmlError, InputError
from cmlcore.evaluation import stored
from cmlcore.evaluation.result import Evaluation
from cmlcore.geometry import MPP_LEAST, MPP_MOST
from cmlcore.ground_truth.public import short_name
from cmlcore.jobs.data_report import SEVERAL, found_sets
from cmlcore.jobs.data_roots import data_roots
from cmlcore.jobs.evaluate import EVALUATIONS, EvaluationJob, EvaluationRequest, submit_evaluation
from cmlcore.settings import settings
from cmlcore.ui import data, folder_jobs, selection, widgets
from cmlcore.ui.server_path import OTHER, typed_path
from models.registry import ModelCard, cards

EVALUATION, WITH = "evaluation", "with"
NO_PAIR = "none"
MODEL_ASKED = "model"
LISTED = 200
MODEL, RUN = "A model", "A stored run"
PARTS = {"val": "Validation", "train": "Training", "test": "Test", "all": "All"}


@dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth that can be chosen from the list."""

    path: Path
    title: str


def start_form(*, expanded: bool) -> None:
    """Ask for an evaluation, folded away once there is one; a link may name the model."""
    asked = st.query_params.get(MODEL_ASKED)
    if asked in {c.key for c in cards()}:
        st.session_state["evaluate-model"] = asked
    st.query_params.pop(MODEL_ASKED, None)
    with st.expander("New evaluation", expanded=expanded or asked is not None, icon=":material/add:"):
        runs = {r.id: r for r in store.list_runs() if r.blocks_done and r.status not in store.ACTIVE}
        what = MODEL
        if runs:
            what = st.segmented_control(
                "What is judged", [MODEL, RUN], default=MODEL, required=True, key="evaluate-what",
                label_visibility="collapsed",
            )  # fmt: skip
        with widgets.said_plainly():
            if what == MODEL:
                _model_form()
            else:
                _run_form(runs)


def _model_form() -> None:
    known = {c.key: c for c in cards() if c.weights.is_file()}
    if not known:
        st.info("No model is installed; train one, or put a card and its weights into the models folder.")
        return
    left, middle, right = st.columns([1.3, 1.3, 0.7], gap="medium")
    with left:
        model = st.selectbox("Model", list(known), format_func=lambda k: known[k].title, key="evaluate-model")
    with middle:
        path = _truth(folders_of_truth(), "evaluate-data")
    with right:
        part = st.selectbox(
            "Part", list(PARTS), format_func=PARTS.__getitem__,
            help="Figures on the training part only say how far a model has learned by heart.",
            key="evaluate-part",
        )  # fmt: skip
    settings = _settings(known[model])
    if st.button("Evaluate", type="primary", icon=":material/play_arrow:", key="evaluate-start"):
        _submit({"model": model, "data": path, "part": part, **settings})


def _settings(model: ModelCard) -> dict[str, Any]:
    with st.expander("Settings", icon=":material/tune:"):
        left, middle, right = st.columns(3, gap="medium")
        with left:
            min_score = st.slider(
                "Least confidence", 0.0, 1.0, model.min_score, 0.01, key=f"evaluate-score-{model.key}",
                help="From which confidence a cell counts. Average precision always looks at all of them.",
            )  # fmt: skip
            auto = st.toggle(
                "Estimate the pixel size", key="evaluate-auto",
                help="From the cells themselves, as for a slide that does not say it.",
            )  # fmt: skip
        with middle:
            limit = st.number_input(
                "Images at most", 1, None, None, 10, placeholder="All of them", key="evaluate-limit",
                help="Spread evenly over the ground truth.",
            )  # fmt: skip
        with right:
            image_mpp = st.number_input(
                "Pixel size (µm)", MPP_LEAST, MPP_MOST, None, 0.005, format="%.3f", key="evaluate-mpp",
                placeholder="As the images say", help="For images that do not say it.",
            )  # fmt: skip
    return {
        "min_score": min_score,
        "limit": limit,
        "mpp": "auto" if auto else "known",
        "image_mpp": image_mpp,
    }


def _run_form(runs: dict[str, store.Run]) -> None:
    slides = {s.id: s.name for s in store.list_slides()}
    titles = selection.distinct(
        {k: f"{slides.get(r.slide_id, r.slide_id)} · {data.run_title(r)}" for k, r in runs.items()}
    )
    left, right = st.columns([1.5, 1.5], gap="medium")
    with left:
        run = st.selectbox("Run", list(titles), format_func=titles.__getitem__, key="evaluate-run")
    with right:
        path = _truth(files_of_truth(runs[run]), f"evaluate-truth-{run}")
    st.caption("Ground truth of a slide is one GeoJSON file in its level-0 pixels, as QuPath exports it.")
    if st.button("Evaluate", type="primary", icon=":material/play_arrow:", key="evaluate-start-run"):
        _submit({"run": run, "data": path})


def _truth(listed: list[Truth], key: str) -> Path | None:
    """A choice from the list, or a path typed in."""
    titles = {t.title: t.path for t in listed}
    chosen = st.selectbox("Ground truth", [*titles, OTHER], key=key)
    return typed_path(f"{key}-path") if chosen == OTHER else titles[chosen]


def folders_of_truth() -> list[Truth]:
    """Ground truth of images that lies in the data roots, told by what its reader would say."""
    found: list[Truth] = []
    for path, kind in ((Path(p), kind) for p, kind in found_sets().items()):
        root = next(r for r in data_roots() if path == r or path.parent == r)
        if root == demo_path().parent.resolve():
            continue  # truth of slides, not of images
        where = _root_name(root)
        if path == root:
            title = f"All of the {where}" if kind in SEVERAL else where.capitalize()
        else:
            title = f"{path.name} ({where})" if path.name in {t.title for t in found} else path.name
        found.append(Truth(path, title))
    return found[:LISTED]


def _root_name(root: Path) -> str:
    """A data root as people know it; its path stays on the server."""
    if root == (settings().home / "data").expanduser().resolve():
        return "own data"
    named = settings().data
    return "data folder" if named and root == named.expanduser().resolve() else f"folder {root.name}"


def files_of_truth(run: store.Run) -> list[Truth]:
    """GeoJSON files in the data roots; the drawn truth first where the run is of the demo slide."""
    found = []
    slide = store.get_slide(run.slide_id)
    drawn = truth_path(demo_path(), run.scene)
    if Path(slide.path) == demo_path() and drawn.is_file():
        found.append(Truth(drawn, "What was drawn on the demo slide"))
    for root in data_roots():
        if root != demo_path().parent:
            found += [Truth(p, str(p.relative_to(root))) for p in sorted(root.glob("**/*.geojson"))[:LISTED]]
    return found


def _submit(asked: dict[str, Any]) -> None:
    if asked["data"] is None:
        raise InputError("Choose a ground truth, or type the path of one.")
    try:
        key = submit_evaluation(EvaluationRequest(**asked))
    except ValueError as e:  # pydantic; the widgets keep every value in bounds
        raise InputError(f"A setting cannot be used: {e}.") from e
    selection.choose(EVALUATION, key)
    st.rerun()


# --- stored evaluations ------------------------------------------------------------------------------


@st.cache_resource(max_entries=16, show_spinner=False)
def _result(key: str, changed_ns: int) -> Evaluation:  # noqa: ARG001
    return stored.load(key)


def result(key: str) -> Evaluation:
    """The figures of an evaluation that is done.

    Raises:
        InputError: it is not done, or damaged.

    """
    path = EVALUATIONS.folder(key) / stored.FILE
    return _result(key, path.stat().st_mtime_ns if path.is_file() else 0)


def title(job: EvaluationJob) -> str:
    """One line that tells an evaluation from its neighbours."""
    return folder_jobs.titled(job, subject(job))


def subject(job: EvaluationJob) -> str:
    """What was judged, against what."""
    if job.request is None:
        try:
            manifest = result(job.id).manifest
        except CmlError:
            return "Damaged"
        return f"{_short(manifest.title) or manifest.model} · {short_name(manifest.data)}"
    what = data.model_name(job.request.model) if job.request.model else "Run"
    if job.request.run:
        what = _run_title(job.request.run)
    part = "" if job.request.part == "val" else f" ({PARTS[job.request.part].lower()})"
    return f"{what} · {truth_title(job.request.data)}{part}"


def truth_title(path: Path) -> str:
    """Name of a ground truth: of its folder or file; the demo slide's has one of its own."""
    return "demo slide, as drawn" if path.parent == demo_path().parent.resolve() else short_name(path.name)


def _short(text: str) -> str:
    return text.partition(":")[0]


def _run_title(run_id: str) -> str:
    try:
        run = store.get_run(run_id)
        return f"{data.model_name(run.model)} on {store.get_slide(run.slide_id).name}"
    except InputError:
        return "A run that is gone"
