"""The functions that create partitions. `smartops_create_partitions` has the rights of the owner of the tables: a
reconciler may call it, and cannot choose what it creates."""

from django.db import migrations

# The smallest UUIDv7 of a moment, and the month of a UUIDv7 or of a moment, in UTC. `smartops_key` is the smallest key
# of a moment in a column of this type, as a literal.
IDS = """
CREATE FUNCTION smartops_first_id(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog
AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

CREATE FUNCTION smartops_month(id uuid) RETURNS timestamp
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog
AS $$
    SELECT date_trunc('month', to_timestamp(
        ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC')
$$;

CREATE FUNCTION smartops_month(moment timestamptz) RETURNS timestamp
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog
AS $$
    SELECT date_trunc('month', moment AT TIME ZONE 'UTC')
$$;

CREATE FUNCTION smartops_key(type regtype, moment timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = public, pg_temp
AS $$
    SELECT CASE type WHEN 'uuid'::regtype THEN smartops_first_id(moment)::text ELSE moment::text END
$$;
"""
# The new table takes the rows that the default partition has of its month, before it is attached: PostgreSQL refuses a
# partition whose rows are elsewhere. ATTACH locks the default partition, and nothing that is read or written all the
# time. Without a lock for a quarter of a second, it fails and is repeated later.
ONE = """
CREATE FUNCTION smartops_create_partition(parent name, key name, month timestamp) RETURNS name
LANGUAGE plpgsql SET search_path = public, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
    part name := parent || to_char(month, '_YYYY_MM');
    rest name := parent || '_default';
    key_type regtype := (SELECT atttypid FROM pg_attribute WHERE attrelid = parent::text::regclass AND attname = key);
    first_key text := smartops_key(key_type, month AT TIME ZONE 'UTC');
    next_key text := smartops_key(key_type, (month + interval '1 month') AT TIME ZONE 'UTC');
    options text := (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = rest::text::regclass);
    held boolean;
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY)', part, parent);
    IF options <> '' THEN
        EXECUTE format('ALTER TABLE %I SET (%s)', part, options);
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %2$I >= %3$L AND %2$I < %4$L)', rest, key, first_key, next_key)
        INTO held;
    IF held THEN
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', rest);
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) '
            'INSERT INTO %5$I SELECT * FROM moved', rest, key, first_key, next_key, part);
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', rest);
    END IF;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, first_key, next_key);
    RETURN part;
END $$;
"""
# PostgreSQL gives partitions the row triggers of their table, but not those of statements. With copies of these, a
# statement on a partition is refused, or recorded, like one on the table.
TRIGGERS = """
CREATE FUNCTION smartops_copy_triggers(parent regclass) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        WITH parts AS (SELECT inhrelid::regclass AS part FROM pg_inherits WHERE inhparent = parent),
        own AS (
            SELECT tgrelid::regclass AS part, tgname, pg_get_triggerdef(oid) AS definition FROM pg_trigger
            WHERE NOT tgisinternal AND tgtype & 1 = 0
                AND (tgrelid = parent OR tgrelid IN (SELECT part FROM parts))),
        wanted AS (
            SELECT parts.part, tgname, replace(definition, ' ON public.' || parent || ' ', ' ON public.' || parts.part || ' ')
                AS definition
            FROM own, parts WHERE own.part = parent)
        SELECT format('DROP TRIGGER %I ON %s', tgname, part) FROM own
            WHERE part <> parent AND (part, tgname) NOT IN (SELECT part, tgname FROM wanted)
        UNION ALL
        SELECT replace(definition, 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER') FROM wanted
            WHERE (part, tgname, definition) NOT IN (SELECT part, tgname, definition FROM own)
    LOOP
        EXECUTE statement;
    END LOOP;
END $$;
"""
# From the month after the newest partition, or that of the oldest row without one, to the third month from now, without
# a gap. A month that the retention has dropped is not created again because an older one is kept. An id that is no
# UUIDv7 names a month far away: it stays in the default partition.
ALL = """
CREATE FUNCTION smartops_create_partitions() RETURNS SETOF name
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    today timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    parent record;
    since timestamp;
    month timestamp;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('smartops_create_partitions'));
    FOR parent IN
        SELECT c.oid, c.relname AS name, a.attname AS key, a.atttypid AS type
        FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT min(smartops_month(%1$I)) FROM %2$I WHERE %1$I BETWEEN %3$L AND %4$L',
            parent.key, parent.name || '_default', smartops_key(parent.type, today - interval '10 years'),
            smartops_key(parent.type, today + interval '3 months')) INTO since;
        SELECT least(today, since, max(to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM')) + interval '1 month')
            INTO since
            FROM pg_inherits WHERE inhparent = parent.oid AND inhrelid::regclass::text ~ '_[0-9]{4}_(0[1-9]|1[0-2])$';
        FOR month IN SELECT generate_series(since, today + interval '3 months', '1 month') LOOP
            IF to_regclass(parent.name || to_char(month, '_YYYY_MM')) IS NULL THEN
                RETURN NEXT smartops_create_partition(parent.name, parent.key, month);
            END IF;
        END LOOP;
        PERFORM smartops_copy_triggers(parent.oid);
    END LOOP;
END $$;
"""
KEEP = """
REVOKE EXECUTE ON FUNCTION smartops_create_partition(name, name, timestamp), smartops_copy_triggers(regclass),
    smartops_create_partitions() FROM PUBLIC;
"""
REVERSE = """
DROP FUNCTION smartops_create_partitions();
DROP FUNCTION smartops_create_partition(name, name, timestamp);
DROP FUNCTION smartops_copy_triggers(regclass);
DROP FUNCTION smartops_key(regtype, timestamptz);
DROP FUNCTION smartops_month(timestamptz);
DROP FUNCTION smartops_month(uuid);
DROP FUNCTION smartops_first_id(timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0003_ingest")]

    operations = [migrations.RunSQL(IDS + ONE + TRIGGERS + ALL + KEEP, REVERSE)]
