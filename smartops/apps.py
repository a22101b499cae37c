from django.apps import AppConfig


class SmartOpsConfig(AppConfig):
    name = "smartops"
