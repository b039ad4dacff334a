"""The adapter beside the merged model: PEFT loads it onto the pre-trained one, and says what the run said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers

import dps
from dps.methods import make_method
from dps.models import PretrainedEncoder, locate_model
from dps.models.manifest import find_damage
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import PaddingCollator, TaskData
from dps.training.run import finetune_model
from tests import tiny

CONFIG = FineTuneConfig(method=dps.Vanilla(), learning_rate=5e-2, max_steps=24, batch_size=8, evaluations=12)
Run = Callable[..., FineTuneResult]


@pytest.mark.parametrize(
    ("method", "changes"),
    [("lora", {"patience": 4}), ("dora", {"max_steps": 6}), ("ia3", {"max_steps": 6})],
)
def test_peft_loads_it_and_predicts_what_the_run_scored(
    go: Run, tiny_data: TaskData, tiny_model: Path, method: str, changes: dict[str, int], tmp_path: Path
) -> None:
    """Also that of a step that was best, of a run that was resumed behind it."""
    left = iter(["go"] * (15 if "patience" in changes else 4))
    options = {"method": make_method(method), "checkpointing": Checkpointing(tmp_path / "run"), **changes}
    assert go(control=lambda: next(left, "suspend"), **options).outcome == "suspended"
    result = go(**options)
    assert "patience" not in changes or 0 < result.kept_step < result.steps  # type: ignore[operator]
    result.save(tmp_path / "model")
    assert find_damage(tmp_path / "model") is None
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "model" / "adapter").eval()
    assert loaded.active_peft_config.base_model_name_or_path == str(tiny_model)
    dev = tiny_data.get_split("dev")
    batch = PaddingCollator(tiny_data.tokenizer)(dev, np.arange(len(dev)))
    with torch.no_grad():
        logits = loaded(**batch).logits.numpy()
    np.testing.assert_allclose(logits, result.logits["dev"], rtol=1e-4, atol=1e-5)
    assert np.ptp(logits, axis=0).max() > 1e-2


def test_a_model_without_all_weights_of_its_encoder_keeps_none_and_says_so(
    tiny_data: TaskData, tmp_path: Path
) -> None:
    folder = tiny.model_folder(tmp_path)
    transformers.AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder)  # without a pooler
    base = PretrainedEncoder(locate_model(str(folder)), tiny_data.task)
    result = finetune_model(
        FineTuneConfig(method=make_method("lora"), max_steps=1, batch_size=8, evaluations=1), base, tiny_data
    )
    assert result.adapter == {}
    assert any("no adapter is kept: bert.pooler.dense" in warning for warning in result.warnings)
