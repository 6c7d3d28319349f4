"""From a loaded model to the backbone of its kind."""

from __future__ import annotations

from pegbox.backbone.encoder_decoder import EncoderDecoderBackbone
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded import Kind, Loaded
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.masked import MaskedBackbone
from pegbox.backbone.storage import Storage
from pegbox.errors import BackboneError

BACKBONES: dict[Kind, type[LoadedBackbone]] = {
    "causal": HuggingFaceBackbone,
    "masked": MaskedBackbone,
    "encoder-decoder": EncoderDecoderBackbone,
}


def backbone_of(
    loaded: Loaded, cache_bytes: int | None = None, storage: Storage = "exact", cache_disk_bytes: int | None = 0
) -> LoadedBackbone:
    """The model behind the seam; settings as in `LoadedBackbone`."""
    return BACKBONES[loaded.kind](loaded, cache_bytes, storage, cache_disk_bytes)


def causal(backbone: object, what: str, instead: str) -> HuggingFaceBackbone:
    """The backbone, where it is a causal model; for what only these can do.

    Settings:
        what: that.
        instead: what to do with another kind.

    Raises: BackboneError for another kind.
    """
    if not isinstance(backbone, HuggingFaceBackbone):
        name, kind = getattr(backbone, "name", "it"), getattr(backbone, "kind", type(backbone).__name__)
        raise BackboneError(f"{what} with {name!r}, which is of the kind {kind}", "a causal model", instead)
    return backbone
