"""Strategies of other libraries, played by the libraries themselves: `pip install -e .[benchmarks]`.

`LIBRARIES` has those that are installed, `find_missing` names the others.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import tempfile
import warnings
from typing import Any

import numpy as np

from benchmarks.play import Play, iterate_proposals
from benchmarks.strategies import Plain, also_begun
from dps.ranges import Choice
from tune.core.space import SearchSpace
from tune.strategy.proposals import STARTUP_TRIALS

SMAC_SEEDS = 4  # that its intensifier gives an incumbent at most, and a challenger that keeps up
SAMPLES = 64  # quasi-random ones of the acquisition function


def search_smac(play: Play) -> int:
    """SMAC3's facade for hyper-parameters with its own model, initial design and intensifier over seeds.

    It takes the score of a recorded configuration for that of the one nearby which it asked for: it cannot
    be told of another one.
    """
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.runhistory.dataclasses import TrialValue

    logging.getLogger("smac").setLevel(logging.ERROR)
    ground = play.ground
    space = _configuration_space(ground.space, ground.number)
    published = ground.space.list_published() if play.begun else []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scenario = Scenario(space, n_trials=10_000, seed=ground.number, output_directory=folder)
        facade = Facade(
            scenario,
            lambda config, seed: 0.0,
            intensifier=Facade.get_intensifier(scenario, max_config_calls=min(SMAC_SEEDS, play.seeds)),
            initial_design=Facade.get_initial_design(
                scenario,
                n_configs=STARTUP_TRIALS - len(published),
                additional_configs=[_to_config(space, ground.space, each) for each in published],
            ),
            overwrite=True,
            logging_level=logging.ERROR,
        )
        places: dict[Any, int] = {}
        seeds: dict[int, int] = {}
        while True:
            asked = facade.ask()
            if asked.config not in places:
                values = ground.space.from_study_values(dict(asked.config))
                taken = [*places.values()] if len(places) < len(ground.cost) else []
                places[asked.config] = ground.place(values, taken)
            seed = seeds.setdefault(asked.seed, len(seeds))
            score = play.run(places[asked.config], seed)
            if score is None:
                break
            facade.tell(asked, TrialValue(cost=-score))
        return places[facade.intensifier.get_incumbent()]


def _configuration_space(space: SearchSpace, seed: int) -> Any:
    from ConfigSpace import Categorical, ConfigurationSpace, Float

    made = ConfigurationSpace(seed=seed)
    for name, domain in space.parameters.items():
        if isinstance(domain, Choice):
            made.add(Categorical(name, [*domain.values]))
        elif domain.low < domain.high:
            made.add(Float(name, (domain.low, domain.high), log=domain.log))
    if len(space.methods) > 1:
        made.add(Categorical("method", [*space.methods]))
    return made


def _to_config(made: Any, space: SearchSpace, configuration: dict[str, Any]) -> Any:
    from ConfigSpace import Configuration

    values = dict(made.get_default_configuration()) | space.to_study_values(configuration)
    return Configuration(made, {name: values[name] for name in made})


def search_botorch(play: Play) -> int:
    """BoTorch: a Gaussian process over all runs, the next by qLogNEI among the configurations of the table,
    each of which may run again with another seed; the best posterior mean of what was run."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.set_num_threads(1)
    torch.manual_seed(play.ground.number)
    places = torch.tensor(play.ground.world.places)
    for number in itertools.islice(iterate_proposals(play), STARTUP_TRIALS):
        play.run(number)
    while True:
        rows = [(number, score) for number in {n for n, _ in play.done} for score in play.scores(number)]
        x, y = places[[number for number, _ in rows]], torch.tensor([[score] for _, score in rows]).to(places)
        model = SingleTaskGP(x, (y - y.mean()) / y.std().clamp_min(1e-9))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            sampler = SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=play.ground.number)
            value = qLogNoisyExpectedImprovement(model, x.unique(dim=0), sampler=sampler)
            with torch.no_grad():
                gains = value(places[:, None]).numpy().copy()
        gains[[len(play.scores(number)) >= play.seeds for number in range(len(gains))]] = -np.inf
        if not np.isfinite(gains).any() or play.run(int(gains.argmax())) is None:
            break
    tried = sorted({number for number, _ in rows})
    with torch.no_grad():
        return tried[int(model.posterior(places[tried]).mean.argmax())]


_MODULES = {"smac": search_smac, "botorch": search_botorch}
LIBRARIES = also_begun(
    {
        name: Plain(play, costly=True)
        for name, play in _MODULES.items()
        if importlib.util.find_spec(name) is not None
    }
)


def find_missing() -> list[str]:
    """Return the libraries that are not installed."""
    return [name for name in _MODULES if name not in LIBRARIES]
