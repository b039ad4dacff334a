"""Fine-tuned classifiers, as a search or `save_pretrained` wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dps.errors import InputError
from dps.models.agreement import settle_padding_side
from dps.models.draft import ModelDraft
from dps.models.folder import locate_model
from dps.text import quote_value

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_finetuned_model(
    folder: str, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the fine-tuned classifier in a folder, and its tokenizer.

    tokenizer: that of the model which was fine-tuned; None for the one in the folder.

    Raises InputError if it is missing or incomplete, or if model and tokenizer do not fit.
    """
    if not Path(folder).is_dir():
        raise InputError(
            f"--model: there is no folder {quote_value(folder)}; give one written by save_pretrained"
        )
    draft = ModelDraft.read(locate_model(str(Path(folder).resolve())), {}, tokenizer)
    model, info = draft.load()
    wrong = sorted({*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])})
    if wrong:
        raise InputError(
            f"--model: {quote_value(folder)} lacks weights ({wrong[0]}, ...); give a fine-tuned model"
        )
    settle_padding_side(folder, draft.tokenizer, model)
    return model, draft.tokenizer
