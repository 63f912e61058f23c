"""The sessions for plans and estimates, which need no weights where the cost of the checkpoint is known."""

from longview.app.runtime.runtime import Runtime
from longview.model.engine.local_access import choose_device_type
from longview.model.engine.planning_engine import open_planning_engine
from longview.model.engine.sessions import SessionPool


def planning_pool(runtime: Runtime) -> SessionPool:
    """Return the pool of the chosen checkpoint, or one that only plans, without loading the checkpoint, if that is possible.

    Raises:
        LocalEngineUnavailable: the checkpoint has to be loaded, and a package for that is missing.
    """
    settings, is_served = runtime.settings, runtime.settings.server is not None
    has_local_grounding = settings.grounding_model is not None and settings.grounding_server is None
    if runtime.is_loaded or is_served or has_local_grounding or choose_device_type(settings.device) != "cpu":
        return runtime.pool
    checkpoint = runtime.checkpoint
    engine = open_planning_engine(
        checkpoint,
        cpu_threads=settings.cpu_threads,
        precision=settings.precision,
        cache=settings.cache,
        thinking=settings.thinking,
    )
    if engine is None:
        return runtime.pool
    takes_words = checkpoint.profile.takes_words
    return SessionPool(
        engine, runtime.decoder, memory_bytes=0, context_tokens=settings.context_tokens, takes_transcript=takes_words
    )
