"""For a process that has this folder in PYTHONPATH: the second DDP worker has memory for four examples."""

import importlib.abc
import importlib.util
import sys

MOST = 4


class Planted(importlib.abc.MetaPathFinder):
    """Wraps the loss of a method, once its module is there."""

    def find_spec(self, name, path, target=None):
        if name != "dps.attachment.method":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            plant(module.Method)

        spec.loader.exec_module = exec_module
        return spec


def plant(method):
    from dps import distributed

    loss = method.loss

    def short_of_memory(self, model, batch):
        if model.training and distributed.get_rank() == 1 and len(batch["labels"]) > MOST:
            raise RuntimeError("CUDA out of memory. Planted.")
        return loss(self, model, batch)

    method.loss = short_of_memory


sys.meta_path.insert(0, Planted())
