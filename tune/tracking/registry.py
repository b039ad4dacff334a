"""MLflow model registry: registers best/ so that `models:/NAME@best` loads it.

It is an MLflow model of the flavor `transformers`: safetensors and JSON, nothing pickled.
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
    """Return the URI that MLflow loads."""
    return f"models:/{name}@{BEST_ALIAS}"


def register_model(client: MlflowClient, run: str, best: Path, name: str, sentence: str) -> str:
    """Log best/ to a run and make it the version of `name` with the alias. Returns the version.

    An existing version of this run and a newer version's alias stay. sentence: description of the version.
    """
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    if versions:
        version = str(versions[0].version)
    else:
        version = _create_model_version(client, run, best, name, sentence)
    newest = client.get_registered_model(name).aliases.get(BEST_ALIAS)
    if newest is None or int(newest) < int(version):
        client.set_registered_model_alias(name, BEST_ALIAS, version)
    return version


def _create_model_version(client: MlflowClient, run: str, best: Path, name: str, sentence: str) -> str:
    """Create a version of `name`, and the model if it is new."""
    with tempfile.TemporaryDirectory(prefix="dps-register-") as temporary:
        folder = Path(temporary) / MODEL_FOLDER
        save_mlflow_model(best, folder, name)
        client.log_artifacts(run, str(folder), MODEL_FOLDER)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{client.get_run(run).info.artifact_uri}/{MODEL_FOLDER}"
    return str(client.create_model_version(name, source, run, description=sentence).version)


def save_mlflow_model(best: Path, folder: Path, name: str) -> None:
    """Save best/ as an MLflow model in a new folder, without its original path."""
    import mlflow.transformers
    import transformers
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = read_task_file(best / TASK_FILE_NAME).columns
    keys = ("text", "text_pair") if len(columns) == 2 else (None,)
    with silence_transformers():
        model = transformers.pipeline("text-classification", model=str(best), device="cpu")
        is_multi_label = model.model.config.problem_type == "multi_label_classification"
        mlflow.transformers.save_model(
            model,
            str(folder),
            signature=ModelSignature(Schema([ColSpec("string", key) for key in keys])),
            model_config={"truncation": True, **({"top_k": None} if is_multi_label else {})},
            pip_requirements=[
                f"{package}=={importlib.metadata.version(package).partition('+')[0]}"
                for package in ("mlflow", "transformers", "torch")
            ],
        )
    shutil.copytree(best, folder / "model", dirs_exist_ok=True)  # with tokenizer, card and task
    (folder / "LICENSE.txt").unlink(missing_ok=True)  # MLflow guesses it from the folder name
    description = Model.load(str(folder))
    description.flavors["transformers"]["source_model_name"] = name
    description.save(str(folder / "MLmodel"))
