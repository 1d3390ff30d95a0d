"""What a deployment may set: `sections` says what there is, `loading` reads it."""

from galerne.settings.data import DataSettings
from galerne.settings.loading import DEFAULT_FILE, Overrides, load_settings, retry_policies
from galerne.settings.mcp import EffectWord, McpSettings
from galerne.settings.openapi import AuthKind, OpenApiSettings
from galerne.settings.python import PythonSettings, SandboxKind
from galerne.settings.section import Section
from galerne.settings.sections import (
    Backend,
    BusSettings,
    CoordinatorSettings,
    KeyedSection,
    ModelsSettings,
    PlanSettings,
    RetentionSettings,
    RoleSettings,
    RungSettings,
    Settings,
    TenantLimits,
    TenantSettings,
    ToolMode,
    ToolSettings,
    WorkerSettings,
    without_login,
)
from galerne.settings.web import SearchKind, WebSettings

__all__ = [
    "Settings",
    "load_settings",
    "Overrides",
    "DEFAULT_FILE",
    "retry_policies",
    "without_login",
    "AuthKind",
    "Backend",
    "BusSettings",
    "CoordinatorSettings",
    "DataSettings",
    "EffectWord",
    "KeyedSection",
    "McpSettings",
    "ModelsSettings",
    "OpenApiSettings",
    "PlanSettings",
    "PythonSettings",
    "RetentionSettings",
    "RoleSettings",
    "RungSettings",
    "SandboxKind",
    "SearchKind",
    "Section",
    "TenantLimits",
    "TenantSettings",
    "ToolMode",
    "ToolSettings",
    "WebSettings",
    "WorkerSettings",
]
