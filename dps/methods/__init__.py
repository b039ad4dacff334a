"""Methods of fine-tuning, one file each. A new one is a file here and a line in METHODS.

May import dps.sources, dps.models, dps.tasks and what lies below them. Imported by dps.training and above.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dps.attachment import Attachment, Method, MethodCost, attachment_of
from dps.errors import InputError, suggest_name
from dps.methods.bi_drop import BiDrop
from dps.methods.bitfit import BitFit
from dps.methods.child_tuning_d import ChildTuningD
from dps.methods.child_tuning_f import ChildTuningF
from dps.methods.dps import DPSDense, DPSMix
from dps.methods.dps_random import DPSRandom
from dps.methods.ema import EMA
from dps.methods.fixed_masks import GradientMask, MagnitudeMask, RandomMask
from dps.methods.ia3 import IA3
from dps.methods.l2_sp import L2SP
from dps.methods.label_smoothing import LabelSmoothing
from dps.methods.linear_probe import LPFT, LinearProbe
from dps.methods.llrd import LLRD
from dps.methods.lora import DoRA, LoRA
from dps.methods.mixout import MixConnect, Mixout
from dps.methods.noisytune import NoisyTune
from dps.methods.r3f import R3F
from dps.methods.r_drop import RDrop
from dps.methods.re_init import ReInit
from dps.methods.sam import SAM
from dps.methods.swa import SWA
from dps.methods.top_k import TopK
from dps.methods.vanilla import Vanilla, VanillaNoDropout
from dps.methods.weight_decay import WeightDecay
from dps.methods.wise_ft import WiSEFT

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        DPSDense,
        DPSMix,
        Vanilla,
        VanillaNoDropout,
        DPSRandom,
        RandomMask,
        MagnitudeMask,
        GradientMask,
        Mixout,
        MixConnect,
        ChildTuningF,
        ChildTuningD,
        RDrop,
        R3F,
        L2SP,
        WeightDecay,
        TopK,
        ReInit,
        LLRD,
        NoisyTune,
        BiDrop,
        EMA,
        SWA,
        WiSEFT,
        LoRA,
        DoRA,
        IA3,
        BitFit,
        LinearProbe,
        LPFT,
        LabelSmoothing,
        SAM,
    )
}

__all__ = [
    "METHODS",
    "Attachment",
    "DPSDense",
    "DPSMix",
    "Method",
    "MethodCost",
    "Vanilla",
    "attachment_of",
    "make_method",
]


def make_method(name: str, **hyper_parameters: Any) -> Method:
    """Return the method of this name. Raises InputError for an unknown name or hyper-parameter."""
    if name not in METHODS:
        raise InputError(f"method: there is no method {name!r}; {suggest_name(name, METHODS)}")
    known = {field.name for field in fields(METHODS[name])}
    if unknown := set(hyper_parameters) - known:
        raise InputError(
            f"method: {name} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        )
    return METHODS[name](**hyper_parameters)
