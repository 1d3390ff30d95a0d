"""What a deployment may set: `sections` says what there is, `loading` reads it."""

from galerne.settings.loading import DEFAULT_FILE, Overrides, load_settings, retry_policies
from galerne.settings.sections import (
    Backend,
    BusSettings,
    CoordinatorSettings,
    KeyedSection,
    ModelsSettings,
    RetentionSettings,
    RoleSettings,
    RungSettings,
    Section,
    Settings,
    TenantLimits,
    TenantSettings,
    ToolMode,
    ToolSettings,
    WorkerSettings,
    without_login,
)

__all__ = [
    "Settings",
    "load_settings",
    "Overrides",
    "DEFAULT_FILE",
    "retry_policies",
    "without_login",
    "Backend",
    "BusSettings",
    "CoordinatorSettings",
    "KeyedSection",
    "ModelsSettings",
    "RetentionSettings",
    "RoleSettings",
    "RungSettings",
    "Section",
    "TenantLimits",
    "TenantSettings",
    "ToolMode",
    "ToolSettings",
    "WorkerSettings",
]
