"""Names with a scope: ``type='agvm_mm.AGVMOptimWrapper'`` needs no ``custom_imports``.

For a name with a scope MMEngine imports ``<scope>.registry``, which imports this package and so
registers everything, and looks among the children of its own registries. Components stay in
MMEngine's registries, where a bare name finds them from any default scope; the children here are
empty and pass a name on to their parent.
"""

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

SCOPE = 'agvm_mm'


def _child(parent: Registry) -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[SCOPE])


DATA_SAMPLERS = _child(mmengine_registry.DATA_SAMPLERS)
HOOKS = _child(mmengine_registry.HOOKS)
LOG_PROCESSORS = _child(mmengine_registry.LOG_PROCESSORS)
LOOPS = _child(mmengine_registry.LOOPS)
METRICS = _child(mmengine_registry.METRICS)
MODELS = _child(mmengine_registry.MODELS)
OPTIMIZERS = _child(mmengine_registry.OPTIMIZERS)
OPTIM_WRAPPERS = _child(mmengine_registry.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child(mmengine_registry.PARAM_SCHEDULERS)
TRANSFORMS = _child(mmengine_registry.TRANSFORMS)
