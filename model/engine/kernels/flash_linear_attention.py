"""The kernels of linear-attention layers on a GPU: whether transformers uses flash-linear-attention, and whether it works there.

transformers takes its functions where it can import them, and else torch operations, without an error. Triton compiles them at
the first call, for which it needs a C compiler. A trial of one block of tokens on the devices of the weights shows before the
first question whether they work; where they do not, the layers run on torch operations.
"""

import functools
import importlib
import inspect
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from longview.model.cuda_extra import CUDA_EXTRA_COMMAND, has_cuda_extra

log = logging.getLogger(__name__)

Rule = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""A function that applies the gated delta rule, and returns outputs and the last state."""
MODULE, PACKAGE = "fla", "flash-linear-attention"
RULES = ("torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule")
"""Functions in transformers' module of an architecture: for many tokens, and for one. They call a kernel where there is one, and
else the torch operations of this name."""
TRIAL_TOKENS = 64
"""Number of tokens in a trial: one block of the kernels."""
TOLERANCE = 0.05
"""Maximum relative error of a trial, in the norm. Products in bfloat16 have about 0.01."""
MAX_REASON_CHARACTERS = 200
"""Maximum length of the reason that an error gives."""
CHOOSING_MODULE, FALLBACK_TEXT = (
    "transformers.integrations.hub_kernels",
    "is falling back to its reference PyTorch implementation",
)
"""The module of transformers that chooses, and part of its message where it finds no package. It also advises causal-conv1d,
whose source needs the compiler of CUDA."""
SLOWER_TEXT = "linear-attention layers run on torch operations, which take more time and memory"
COMPILER_ADVICE = "Triton needs a C compiler and the headers of Python (on Debian and Ubuntu: apt install gcc python3-dev)"


def use_linear_attention_kernels(name: str, model: Any) -> str | None:
    """Try the kernels of the linear-attention layers of a loaded model; let layers of these sizes run without if they fail.

    One sentence in the log says what the layers run on. `name`: that of the checkpoint. Returns why there are no kernels, as a
    clause; None if there are, or if the model has no such layers.
    """
    layers = [layer for layer in model.modules() if type(layer).__name__.endswith("GatedDeltaNet")]
    if not layers:
        return None
    logging.getLogger(CHOOSING_MODULE).addFilter(_is_no_advice)
    architecture = sys.modules[type(layers[0]).__module__]
    wrappers = [find_wrapper(getattr(architecture, name, None)) for name in RULES]
    rules = [wrapper for wrapper in wrappers if wrapper is not None and wrapper.uses_kernel]
    if len(rules) < len(RULES):
        problem: str | None = _absence_text()
    else:
        # One layer for each device.
        trial_layers = {next(layer.parameters()).device: layer for layer in layers}
        problem = next(filter(None, (_find_problem(rules, layer) for layer in trial_layers.values())), None)
        sizes = (layers[0].head_k_dim, layers[0].head_v_dim)
        for rule_name, rule in zip(RULES, rules, strict=True):
            earlier: frozenset[tuple[int, int]] = getattr(getattr(architecture, rule_name), "sizes_without_kernel", frozenset())
            setattr(architecture, rule_name, rule.without_kernel(earlier | {sizes} if problem else earlier - {sizes}))
    if problem is None:
        log.info("%s: linear-attention layers run on %s", name, PACKAGE)
    else:
        log.warning("%s: %s: %s", name, SLOWER_TEXT, problem)
    return problem


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Tell whether a message of transformers is none about packages that it misses, one of which pip cannot install here."""
    return FALLBACK_TEXT not in record.getMessage()


@dataclass(frozen=True)
class RuleWrapper:
    """A function of transformers that calls a kernel where there is one (`use_kernel_func_from_hub_with_fallback`)."""

    function: Rule
    torch_operations: Rule
    uses_kernel: bool
    """Whether it has found a kernel of another package."""

    def without_kernel(self, sizes: frozenset[tuple[int, int]]) -> Rule:
        """Return a function that uses torch operations for some sizes of heads, those of keys and of values."""
        if not sizes:
            return self.function
        wrapped, torch_operations = self.function, self.torch_operations

        @functools.wraps(wrapped)
        def choose(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> Any:
            rule = torch_operations if (key.shape[-1], value.shape[-1]) in sizes else wrapped
            return rule(query, key, value, **options)

        vars(choose)["sizes_without_kernel"] = sizes
        return choose


def find_wrapper(rule: Any) -> RuleWrapper | None:
    """Return the wrapper of one of `RULES`; None if this version of transformers chooses in another way."""
    while rule is not None:
        variables = inspect.getclosurevars(rule).nonlocals if inspect.isfunction(rule) else {}
        if "is_new_implementation" in variables:
            return RuleWrapper(rule, variables["torch_function"], bool(variables["is_new_implementation"]))
        rule = getattr(rule, "__wrapped__", None)
    return None


def _absence_text() -> str:
    """Return why transformers uses no kernels, and what to do where something can be done, as a clause."""
    advice = f"; install it with: {CUDA_EXTRA_COMMAND}" if has_cuda_extra() and torch.version.cuda else ""
    try:
        importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        if error.name == MODULE:
            return f"{PACKAGE} is not installed{advice}"
        return f"{PACKAGE} is installed but cannot be imported ({_reason(error)}){advice}"
    except Exception as error:  # it initialises Triton and the driver, which raise many kinds
        return f"{PACKAGE} is installed but cannot be imported ({_reason(error)}){advice}"
    return f"transformers does not use the installed version of {PACKAGE}{advice}"


def _find_problem(rules: Sequence[RuleWrapper], layer: Any) -> str | None:
    """Apply the rules to one block and one more token on the device of a layer; return what is wrong with them, as a clause."""
    device = next(layer.parameters()).device
    try:
        with torch.inference_mode():
            tokens = _trial_tokens(layer, device)
            state = None
            for rule, rows in zip(rules, (slice(0, TRIAL_TOKENS), slice(TRIAL_TOKENS, None)), strict=True):
                inputs = {key: states[:, rows] for key, states in tokens.items()}
                # Kernels may write into a state, which the other function reads.
                result, expected = (
                    _apply(function, inputs, None if state is None else state.clone())
                    for function in (rule.function, rule.torch_operations)
                )
                if not all(map(_are_close, result, expected)):
                    return f"{PACKAGE} gives wrong results on {device}"
                state = expected[1]
    except Exception as error:  # Triton, the driver and a compiler raise many kinds; each means "no kernel"
        log.info("the kernels of %s fail on %s", PACKAGE, device, exc_info=True)
        is_compiler_missing = isinstance(error, subprocess.CalledProcessError) or "C compiler" in str(error)
        advice = f"; {COMPILER_ADVICE}" if is_compiler_missing else ""
        return f"{PACKAGE} fails on {device} ({_reason(error)}){advice}"
    return None


def _trial_tokens(layer: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """Return random inputs in the sizes of a layer: (1, tokens, heads, size), and logarithmic decays and gains per head."""
    generator = torch.Generator().manual_seed(0)
    count = TRIAL_TOKENS + 1

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, count, *shape, generator=generator).to(device, torch.bfloat16)

    return {
        "query": draw(layer.num_k_heads, layer.head_k_dim),
        "key": draw(layer.num_k_heads, layer.head_k_dim),
        "value": draw(layer.num_v_heads, layer.head_v_dim),
        "g": -draw(layer.num_v_heads).float().sigmoid(),
        "beta": draw(layer.num_v_heads).sigmoid(),
    }


def _apply(rule: Rule, inputs: dict[str, torch.Tensor], state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Call a rule as the layers of transformers do."""
    query, key, value, g, beta = inputs.values()
    return rule(
        query, key, value, g=g, beta=beta, initial_state=state, output_final_state=True, use_qk_l2norm_in_kernel=True,
        cu_seqlens=None,
    )  # fmt: skip


def _are_close(result: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether a result has the shape and, within the tolerance, the values that are expected. NaN is not close."""
    if result.shape != expected.shape:
        return False
    error = (result.float() - expected.float()).norm()
    return bool(error <= TOLERANCE * expected.float().norm())


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_REASON_CHARACTERS].removesuffix(".") or type(error).__name__
