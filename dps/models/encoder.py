"""Pre-trained encoders: read once, copied for each run with a head of its own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from dps.depth import get_head_parameters
from dps.errors import InputError
from dps.lazy import torch
from dps.models.agreement import settle_padding_side
from dps.models.draft import ModelDraft
from dps.models.folder import ModelFolder
from dps.models.heads import initialise_module, make_head_config, set_dropout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dps.tasks.task import Task


class PretrainedEncoder:
    """Pre-trained encoder with a head for `task`, kept in memory and copied for each run.

    new_parameters: names of the parameters that are not pre-trained, sorted: those that the files lack, and
        every one of a head that was trained for something else.
    missing_parameters: those of them that are not of the head, such as a pooler's.
    replaces_head: whether the files hold such a head.
    max_tokens: tokens that an example may have at most, where positions are learned; else None.
    readable_tokens: tokens that the model was made to read.

    Raises InputError for a folder that cannot be loaded: no tokenizer, an unknown kind of model, custom code,
    weights that are missing or whose size differs from the configuration.
    """

    def __init__(self, folder: ModelFolder, task: Task) -> None:
        draft = ModelDraft.read(folder, make_head_config(task))
        self.tokenizer: PreTrainedTokenizerBase = draft.tokenizer
        self.name, self.max_tokens, self.readable_tokens = (
            folder.name,
            draft.max_tokens,
            draft.readable_tokens,
        )
        self.config = draft.config
        self._model, info = draft.load()
        missing, mismatched = set(info["missing_keys"]), {key[0] for key in info["mismatched_keys"]}
        head = get_head_parameters(self._model)
        self.replaces_head = bool(head) and not head & missing
        self.new_parameters = sorted(missing | mismatched | (head if self.replaces_head else set()))
        self.missing_parameters = [name for name in self.new_parameters if name not in head]
        self._copy: PreTrainedModel | None = None
        self._check_encoder(folder)
        settle_padding_side(folder.name, self.tokenizer, self._model)

    def _check_encoder(self, folder: ModelFolder) -> None:
        """Raise InputError if weights other than those of head and pooler are missing."""
        encoder = f"{self._model.base_model_prefix}."
        missing = [n for n in self.new_parameters if n.startswith(encoder) and "pooler" not in n]
        if missing:
            raise InputError(
                f"model: {folder.name!r} lacks {len(missing)} weights that its config.json asks for "
                f"({missing[0]}, ...); give the model with its own configuration"
            )

    def prepare_copy(self) -> None:
        """Make the copy for the next `build` now, so that `build` is quick."""
        if self._copy is None:
            self._copy = copy.deepcopy(self._model)

    def build(self, seed: int, dropout: float) -> PreTrainedModel:
        """Return a copy of the model with a head initialised from `seed`.

        dropout: probability of every dropout layer, in [0, 1).
        """
        self.prepare_copy()
        model, self._copy = self._copy, None
        assert model is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for path in dict.fromkeys(name.rpartition(".")[0] for name in self.new_parameters):
                initialise_module(model, model.get_submodule(path))
        set_dropout(model, dropout)
        return model
