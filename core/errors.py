"""The errors a caller can tell apart.

    CaesuraError            its text is a sentence for the user: what happened, to what, what to do next
    +-- ModelError          core.model: a request to a model failed
    +-- SessionError        core.steering: the session cannot do that now
    +-- OperationError      core.operations: a question about an operation made no sense
    +-- CommandError        core.processes: a command could not be started
    +-- ToolError           core.tools.base: a call cannot do what was asked; its text is for the model
    +-- Denied              core.permissions: a call may not run; its text is for the model
    +-- LimitReached        core.engine: a turn has taken as many steps as it may
    +-- BudgetReached       core.costs: the session has cost as much as it may
    +-- CompactionFailed    core.summary: there is no summary, and nothing has changed
    +-- NothingToCompact    core.compaction: the conversation is as short as it gets
    +-- ContextFull         core.compaction: the conversation does not fit, and no compaction helps
    +-- StoreError          core.database: the file of sessions cannot be used; more in core.store
    +-- NotSaved            core.journal: what was handed over is not in the file yet
    +-- ConfigError         core.config: a file of settings cannot be used
    +-- RuleError           core.rules: a text that is no rule

`core.cancel.Cancelled` is not among them: a stop is no failure.
"""

from __future__ import annotations


class CaesuraError(Exception):
    """Base of all errors whose text may be shown to the user as it is."""
