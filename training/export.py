"""From a run to a checkpoint that the explorer loads."""

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from explorer import checkpoint
from explorer.checkpoint import config_from_dict
from explorer.directions import measured
from explorer.generators import FAMILIES
from explorer.sound.base import Representation
from explorer.sound.learned_vocoder import LearnedVocoder
from explorer.sound.mel import MelRepresentation
from training.loop import TrainingError, last_state

RUN = "run.json"
CARD = """# {name}

Family `{family}`, {parameters:,} parameters, exported at step {step:,} of {total:,}.

| | |
|---|---|
| data | {data} |
| licence of the weights | say it here: what the data's licence permits |
| started from | {origin} |
| command | `{command}` |
| hardware | {hardware} |
"""


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run: family, recipe, config, data, command, hardware.

    Raises:
        TrainingError: if the folder holds no run.
    """
    try:
        run: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder} holds no run: {error}") from None
    return run


def write_run(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes `run.json`, in one piece."""
    partial = folder / (RUN + ".partial")
    partial.write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(folder / RUN)


def export(folder: Path, name: str, target: Path, *, encoder: bool = False,
           dtype: torch.dtype = torch.bfloat16, samples: int = 4096) -> Path:
    """Writes `target/NAME.safetensors` from a run's averaged weights, and a first model card if there is none.

    The directions are measured on `samples` sounds of the weights as stored, so that they belong to what is heard.

    Raises:
        TrainingError: if the run, or its state, cannot be read.
    """
    about = read_run(folder)
    state = last_state(folder)
    family = FAMILIES[about["family"]]
    generator = family(config_from_dict(family.Config, about["config"]))
    generator.load_state_dict(state["modules"]["ema"])
    generator.load_state_dict({k: v.to(dtype).float() if v.is_floating_point() else v
                               for k, v in generator.state_dict().items()})
    generator.eval().requires_grad_(False)
    extra = {f"encoder.{k}": v for k, v in state["modules"].get("encoder", {}).items()} if encoder else {}
    about["data"]["folder"] = Path(about["data"]["folder"]).name
    about["command"] = portable(about["command"])
    told = ("data", "recipe", "command", "hardware", "init_from")
    provenance = {"step": state["step"], **{k: about[k] for k in told if k in about}}
    path = target / f"{name}.safetensors"
    with tqdm(desc="directions", unit="sound", dynamic_ncols=True) as bar:
        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        directions = measured(generator, samples, progress=advance)
    checkpoint.save(path, generator, directions=directions, provenance=provenance, extra=extra,
                    vocoder=_vocoder(generator.representation, target), dtype=dtype)
    written = checkpoint.read_card(path)
    card = target / f"{name}.md"
    if not card.exists():
        total = about["recipe"]["warm_steps"] + about["recipe"]["steps"]
        origin = about.get("init_from")
        started = f"`{origin['name']}`, SHA-256 {origin['sha256']}" if origin else "noise"
        text = CARD.format(name=name, family=written.family, parameters=written.parameters, step=state["step"],
                           total=total, data=about["data"]["folder"], origin=started, command=about["command"],
                           hardware=about["hardware"])
        card.write_text(text, encoding="utf-8")
    return path


def portable(command: str) -> str:
    """A command with every path outside its folder cut to its last part: where data lay is nobody's business."""
    return re.sub(r"(?<=\s)(?:\.\.)?/[^\s;]*?([^\s;/]+)(?=[\s;]|$)", r"\1", command)


def _vocoder(representation: Representation, target: Path) -> LearnedVocoder | None:
    """The learned inversion to send along: of the folder exported to, or else the explorer's own."""
    if not isinstance(representation, MelRepresentation):
        return None
    found = (checkpoint.find_vocoder(folder, representation.config) for folder in (target, checkpoint.DEFAULT_FOLDER))
    return next((vocoder for vocoder in found if vocoder is not None), None)


def hardware(device: torch.device) -> str:
    """One line on what a run ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU thread(s), {platform.machine()}"


