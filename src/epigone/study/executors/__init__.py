"""Where jobs run: processes of this machine, or a Ray cluster. Both call the same job function."""

from epigone.study.executors.executor import Executor
from epigone.study.executors.local import LocalPool
from epigone.study.executors.ray import RayCluster

__all__ = ["Executor", "LocalPool", "RayCluster"]
