"""MLflow's model registry: best/ under a name, so that it is loaded by `models:/NAME@best`.

It is kept as an MLflow model of the flavor `transformers`: safetensors and JSON, nothing pickled.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dps.models import silence_transformers
from dps.tasks.definition import TASK_FILE_NAME, read_task_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

BEST_ALIAS = "best"
MODEL_FOLDER = "model"  # of the search's run


def format_model_uri(name: str) -> str:
    """What MLflow loads."""
    return f"models:/{name}@{BEST_ALIAS}"


def register_model(client: MlflowClient, run: str, best: Path, name: str, sentence: str) -> str:
    """Log best/ to a run and make it the version of `name` that has the alias; returns the version.

    A run has one version: what an earlier sitting registered stays as it is, and so does the alias of a newer
    version. sentence: what is said of it.
    """
    there = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    version = str(there[0].version) if there else _create_model_version(client, run, best, name, sentence)
    newest = client.get_registered_model(name).aliases.get(BEST_ALIAS)
    if newest is None or int(newest) < int(version):
        client.set_registered_model_alias(name, BEST_ALIAS, version)
    return version


def _create_model_version(client: MlflowClient, run: str, best: Path, name: str, sentence: str) -> str:
    """A new version of `name`, which is made where there is none."""
    with tempfile.TemporaryDirectory(prefix="dps-register-") as made:
        folder = Path(made) / MODEL_FOLDER
        save_mlflow_model(best, folder, name)
        client.log_artifacts(run, str(folder), MODEL_FOLDER)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{client.get_run(run).info.artifact_uri}/{MODEL_FOLDER}"
    return str(client.create_model_version(name, source, run, description=sentence).version)


def save_mlflow_model(best: Path, folder: Path, name: str) -> None:
    """The fine-tuned model of best/ as an MLflow model in a new folder, without the place that it is from."""
    import mlflow.transformers
    import transformers
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = read_task_file(best / TASK_FILE_NAME).columns
    keys = ("text", "text_pair") if len(columns) == 2 else (None,)
    with silence_transformers():
        model = transformers.pipeline("text-classification", model=str(best), device="cpu")
        several = model.model.config.problem_type == "multi_label_classification"
        mlflow.transformers.save_model(
            model,
            str(folder),
            signature=ModelSignature(Schema([ColSpec("string", key) for key in keys])),
            model_config={"truncation": True, **({"top_k": None} if several else {})},
            pip_requirements=[
                f"{package}=={importlib.metadata.version(package).partition('+')[0]}"
                for package in ("mlflow", "transformers", "torch")
            ],
        )
    shutil.copytree(best, folder / "model", dirs_exist_ok=True)  # with tokenizer, card and task
    (folder / "LICENSE.txt").unlink(missing_ok=True)  # guessed from the name of a folder
    said = Model.load(str(folder))
    said.flavors["transformers"]["source_model_name"] = name
    said.save(str(folder / "MLmodel"))
