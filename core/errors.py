"""The errors a caller can tell apart.

    CaesuraError            its text is a sentence for the user: what happened, to what, what to do next
    +-- ModelError          core.model: a request to a model failed
    +-- SessionError        core.session: the session cannot do that now
    +-- OperationError      core.operations: a question about an operation made no sense
    +-- CommandError        core.processes: a command could not be started
    +-- ToolError           core.tools.base: a call cannot do what was asked; its text is for the model
    +-- Denied              core.permissions: a call may not run; its text is for the model
    +-- LimitReached        core.engine: a turn has taken as many steps as it may
    +-- ConfigError         core.config: a file of settings cannot be used
    +-- RuleError           core.rules: a text that is no rule

`core.cancel.Cancelled` is not among them: a stop is no failure.
"""

from __future__ import annotations


class CaesuraError(Exception):
    """Base of all errors whose text may be shown to the user as it is."""
