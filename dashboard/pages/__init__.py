"""The pages, one module per subject; `PAGES` is the list that the application registers."""

from dashboard.pages.account import account
from dashboard.pages.alarm_routes import alarm_routes
from dashboard.pages.assets import assets
from dashboard.pages.backups import backups
from dashboard.pages.damage import damage
from dashboard.pages.data_sets import data_sets
from dashboard.pages.devices import devices
from dashboard.pages.forecasting import forecasting
from dashboard.pages.models import models
from dashboard.pages.overview import overview
from dashboard.pages.reports import reports
from dashboard.pages.sensors import sensors
from dashboard.pages.settings import settings
from dashboard.pages.static_files import static_files
from dashboard.pages.trainings import trainings

PAGES = (
    account,
    static_files,
    overview,
    reports,
    sensors,
    forecasting,
    damage,
    data_sets,
    devices,
    assets,
    trainings,
    models,
    backups,
    settings,
    alarm_routes,
)
