from django.db import migrations

from signals.defaults import DEFAULT_RULES


def install(apps, _schema_editor):
    rule = apps.get_model("signals", "Rule")
    rule.objects.bulk_create([rule(**fields) for fields in DEFAULT_RULES], ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("signals", "0001_initial")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
