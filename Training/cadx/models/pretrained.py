"""Published weights into any network of the factory: every tensor of its body filled, or none."""

from __future__ import annotations

import hashlib
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cadx.errors import InputError
from cadx.models import registry
from cadx.models.build import ModelSpec, build
from cadx.models.parts import first_layers, head_names
from cadx.models.weights import adapt_first_kernel, resize_position_embedding, state_of

if TYPE_CHECKING:
    from torch import Tensor, nn

FirstLayer = Literal["timm", "mean", "sum"]
Positions = Literal["bicubic", "aligned-bilinear"]
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
BESIDE_THE_BODY = re.compile(r"head|fc\.|fc_|classifier|class_layers|aux|pre_logits|mask_token|projector|num_batches")
BLOCK = re.compile(r"(?:^|/)(?:blocks\.|encoderblock_)(\d+)[./]")


class _Published(NamedTuple):
    file: Path
    source: str


def load_pretrained(
    spec: ModelSpec,
    weights: str,
    *,
    first_layer: FirstLayer = "timm",
    positions: Positions = "bicubic",
    zero_head: bool = False,
    with_head: bool = False,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network, its body filled from ``weights``, its head fresh; fp32, on the CPU.

    Parameters
    ----------
    weights
        "none": all fresh; "timm": the weights that the network's library publishes, downloaded where they are not yet
        on this machine; else a safetensors, pth or (Google's vision transformers) npz file. What is fresh is drawn
        from torch's current random numbers.
    first_layer
        How the first layer is fitted to another number of channels; see
        :func:`cadx.models.weights.adapt_first_kernel`. Each branch of late fusion gets the weights for one channel.
    positions
        How position embeddings are resized; see :func:`cadx.models.weights.resize_position_embedding`.
    zero_head
        Head of zeros instead.
    with_head
        The head comes from the file too, as for a checkpoint that someone else trained.

    Returns
    -------
    tuple
        The network and where its weights are from: ``source`` (a file's name, or "timm:NAME"), ``sha256`` of the file,
        ``tensors`` (how many of the network's were filled), ``left_out`` (names in the file without use).

    Raises
    ------
    InputError
        If weights cannot be read or downloaded, or do not fill every tensor of the body.
    """
    import torch

    model = build(spec)
    record: dict[str, Any] = {"source": "none", "sha256": None, "tensors": 0, "left_out": []}
    if weights != "none":
        published = _publication(spec.architecture) if weights == "timm" else _given(weights)
        record = _fill(model, spec, published, first_layer, positions, with_head)
    if zero_head:
        with torch.no_grad():
            for name in head_names(model):
                model.get_parameter(name).zero_()
    return model, record


def _fill(
    model: nn.Module, spec: ModelSpec, published: _Published, how: FirstLayer, positions: Positions, with_head: bool
) -> dict[str, Any]:
    from cadx.models.fusion import LateFusion

    late = isinstance(model, LateFusion)
    if late and with_head:
        raise InputError("The head of a late fusion lies in no single file; leave the channels' fusion early.")
    bodies = list(model.branches) if isinstance(model, LateFusion) else [model]
    body_spec = spec.branch if late else spec
    file = published.file
    state = state_of(file)
    names = list(state)
    state = _in_the_networks_names(state, file, bodies[0], body_spec)
    state = _fitted(state, file, bodies[0], how, positions)
    wanted = _wanted(bodies[0], with_head)
    _require_all(wanted, state, file)
    if _is_google(names):
        left_out = [name for name in names if _is_beside(name, body_spec)]
    else:
        left_out = _left_out(list(state), wanted, body_spec, file)
    chosen = {name: state[name] for name in wanted if name in state}
    for body in bodies:
        body.load_state_dict(chosen, strict=False)
    tensors = len(chosen) * len(bodies)
    return {"source": published.source, "sha256": _sha256(file), "tensors": tensors, "left_out": left_out}


def _wanted(body: nn.Module, with_head: bool) -> dict[str, Tensor]:
    """What a file must fill."""
    head = () if with_head else head_names(body)
    return {name: tensor for name, tensor in body.state_dict().items() if name not in head}


def _lacking(wanted: dict[str, Tensor], state: dict[str, Tensor]) -> list[str]:
    # a count of batches that files of old lack, and that nothing here uses
    return [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]


def _require_all(wanted: dict[str, Tensor], state: dict[str, Tensor], file: Path) -> None:
    lacking = _lacking(wanted, state)
    if lacking:
        raise InputError(
            f"{file.name} lacks {len(lacking)} of {len(wanted)} tensors of this network, first {lacking[0]}; choose "
            "the architecture and options that the file is of."
        )
    for name, tensor in wanted.items():
        if name in state and state[name].shape != tensor.shape:
            raise InputError(
                f"{file.name}: {name} has the shape {tuple(state[name].shape)} and this network needs "
                f"{tuple(tensor.shape)}; choose the architecture and options that the file is of."
            )


def _left_out(names: list[str], wanted: dict[str, Tensor], spec: ModelSpec, file: Path) -> list[str]:
    """What the file holds beyond the network, where that is known to be without harm."""
    unused = [name for name in names if name not in wanted]
    strange = [name for name in unused if not _is_beside(name, spec)]
    if strange:
        raise InputError(
            f"{file.name} holds {strange[0]}, for which this network has no place; choose the architecture and options "
            "that the file is of."
        )
    return unused


def _is_beside(name: str, spec: ModelSpec) -> bool:
    """Whether a tensor may be left out: of a head, an auxiliary loss, or beyond a depth that was asked for."""
    depth, block = spec.options.get("depth"), BLOCK.search(name)
    beyond = block is not None and isinstance(depth, int) and int(block[1]) >= depth
    return beyond or BESIDE_THE_BODY.search(name) is not None


def _fitted(
    state: dict[str, Tensor], file: Path, body: nn.Module, how: FirstLayer, positions: Positions
) -> dict[str, Tensor]:
    """First layer and position embedding fitted to the network's channels and image."""
    fitted = dict(state)
    shapes = {name: tensor.shape for name, tensor in body.state_dict().items()}
    for name in (f"{layer}.weight" for layer in first_layers(body)):
        kernel = state.get(name)
        if kernel is not None and kernel.ndim == len(shapes[name]) and kernel.shape[1] != shapes[name][1]:
            fitted[name] = adapt_first_kernel(kernel, shapes[name][1], how)
    embedding = state.get("pos_embed")
    if embedding is not None and embedding.ndim == 3 and "pos_embed" in shapes:
        side, old = _side(shapes["pos_embed"][1]), _side(embedding.shape[1])
        prefix = embedding.shape[1] - old**2
        if side != old and prefix == shapes["pos_embed"][1] - side**2:
            fitted["pos_embed"] = resize_position_embedding(embedding, side, positions, prefix)
    return fitted


def _side(tokens: int) -> int:
    """Of the square grid of patches beside a few prefix tokens."""
    return math.isqrt(tokens)


def _in_the_networks_names(state: dict[str, Tensor], file: Path, body: nn.Module, spec: ModelSpec) -> dict[str, Tensor]:
    """Files in other layouts than the library's own, by that library's converters."""
    try:
        if _is_google(list(state)):
            return _from_google(state, file, spec)
        if not _lacking(_wanted(body, False), state):
            return state
        module = sys.modules[type(body).__module__]
        convert = next((getattr(module, name) for name in FILTERS if hasattr(module, name)), None)
        if convert is None:
            return state
        if "pos_embed" in state:
            # at the file's own size, so that no converter resizes before us
            body = build(_native(spec, state["pos_embed"].shape[1], spec.channels), device="meta")
        try:
            return convert(dict(state), body)
        except TypeError:
            return convert(dict(state))
    except InputError:
        raise
    except Exception as error:  # converters assume the layout that they are for
        raise InputError(
            f"{file.name} does not hold the weights of '{spec.architecture}' with these options; choose the "
            "architecture that the file is of."
        ) from error


def _native(spec: ModelSpec, tokens: int, channels: int) -> ModelSpec:
    """The network of the image size that so many tokens are of."""
    model: Any = build(spec, device="meta")
    pixels = _side(tokens) * model.patch_embed.patch_size[0]
    return spec.model_copy(update={"image_pixels": pixels, "channels": channels})


def _is_google(names: list[str]) -> bool:
    return any(name.endswith("embedding/kernel") for name in names)


def _from_google(state: dict[str, Tensor], file: Path, spec: ModelSpec) -> dict[str, Tensor]:
    """By timm's converter, into a network of the file's own size and channels."""
    import torch

    kernel = next(tensor for name, tensor in state.items() if name.endswith("embedding/kernel"))
    tokens = next(tensor for name, tensor in state.items() if name.endswith("pos_embedding")).shape[1]
    bias = next((tensor for name, tensor in state.items() if name.endswith("head/bias")), kernel.new_zeros(2))
    native = _native(spec, tokens, kernel.shape[2]).model_copy(update={"classes": bias.shape[0]})
    model: Any = build(native)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))  # so that what the converter leaves alone cannot pass for weights
        model.load_pretrained(str(file))
    return {name: tensor for name, tensor in model.state_dict().items() if not tensor.isnan().any()}


def _given(weights: str) -> _Published:
    file = Path(weights).expanduser()
    return _Published(file, file.name)


def _publication(architecture: str) -> _Published:
    """The published weights on this machine, downloaded where they are not yet here."""
    source = registry.BEYOND_TIMM.get(architecture)
    if source is None:
        return _of_timm(architecture)
    if source.weights is None:
        raise InputError(f"There are no published weights for '{architecture}'; give a file or take weights: none.")
    import torchvision

    url = getattr(torchvision.models, source.weights).DEFAULT.url
    return _Published(_downloaded(architecture, url), f"{source.library}:{architecture}")


def _of_timm(architecture: str) -> _Published:
    import timm

    settings = timm.get_pretrained_cfg(architecture)
    if settings is None or not settings.has_weights:
        others = timm.list_pretrained(f"*{architecture}*")
        advice = f"take '{others[0].partition('.')[0]}' or give a file" if others else "give a file"
        raise InputError(f"timm has no published weights for '{architecture}'; {advice}.")
    name = f"timm:{settings.architecture}.{settings.tag}" if settings.tag else f"timm:{settings.architecture}"
    if settings.hf_hub_id:
        return _Published(_from_hub(architecture, settings.hf_hub_id, settings.hf_hub_filename), name)
    return _Published(_downloaded(architecture, str(settings.url)), name)


def _from_hub(architecture: str, repository: str, filename: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = repository.partition("@")
    candidates = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for here in (True, False):  # what lies here needs no network
        for candidate in candidates:
            try:
                return Path(hf_hub_download(repository, candidate, revision=revision or None, local_files_only=here))
            except EntryNotFoundError as error:
                if not here and isinstance(error, LocalEntryNotFoundError):
                    break
            except Exception:  # whatever a network and a hub can fail with
                break
    raise _not_downloaded(architecture, candidates[0], f"https://huggingface.co/{repository}")


def _downloaded(architecture: str, url: str) -> Path:
    import torch

    name = url.rpartition("/")[2]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    digest = re.search(r"-([a-f0-9]{8,})\.", name)
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), digest[1] if digest else None, progress=False)
    except Exception as error:
        raise _not_downloaded(architecture, name, url) from error
    return file


def _not_downloaded(architecture: str, name: str, where: str) -> InputError:
    return InputError(
        f"The weights of '{architecture}' could not be downloaded; download {name} from {where} on a machine with a "
        "network and give its path as the model's weights."
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
