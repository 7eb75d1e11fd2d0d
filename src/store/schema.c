/* SPDX-License-Identifier: Apache-2.0 */

/* The schema, as the ordered list of steps that lead to it. PRAGMA user_version counts the steps
 * that were taken. A step that has been released is never changed; a new one is added at the end.
 * Each step and its new count are one transaction, so a crash in between leaves the old schema
 * whole. */

#include "store/schema.h"

#include <errno.h>

#include "base/str.h"
#include "store/rows.h"

static const char *const migrations[] = {
    /* 1: images, VMs, events; snapshots and networks will refer to these */
    "CREATE TABLE meta ("
    " key TEXT PRIMARY KEY,"
    " value TEXT NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE images ("
    " name TEXT PRIMARY KEY,"
    " digest TEXT NOT NULL,"
    " detail TEXT,"
    " created_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX images_digest ON images (digest);"

    "CREATE TABLE vms ("
    " id TEXT PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " state TEXT NOT NULL,"
    " image TEXT NOT NULL,"
    " image_digest TEXT NOT NULL,"
    " snapshot TEXT NOT NULL DEFAULT '',"
    " mac TEXT NOT NULL UNIQUE,"
    " uid INTEGER NOT NULL,"
    " remove INTEGER NOT NULL,"
    " attached INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " spec TEXT NOT NULL,"
    " runtime TEXT) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX vms_uid ON vms (uid) WHERE uid <> 0;"
    "CREATE INDEX vms_digest ON vms (image_digest);"
    "CREATE INDEX vms_snapshot ON vms (snapshot) WHERE snapshot <> '';"

    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " at INTEGER NOT NULL,"
    " type TEXT NOT NULL,"
    " vm TEXT,"
    " name TEXT,"
    " detail TEXT);",

    /* 2: snapshots, and the frozen layers of disks. A VM's layer, standby and mapped memory are
     * members of its runtime; the partial indexes make the questions about them cheap. */
    "CREATE TABLE snapshots ("
    " id TEXT PRIMARY KEY,"
    " name TEXT UNIQUE,"
    " state TEXT NOT NULL,"
    " automatic INTEGER NOT NULL,"
    " purpose TEXT NOT NULL DEFAULT '',"
    " key TEXT NOT NULL DEFAULT '',"
    " vm TEXT NOT NULL,"
    " vm_id TEXT NOT NULL,"
    " image TEXT NOT NULL,"
    " image_digest TEXT NOT NULL,"
    " parent TEXT NOT NULL DEFAULT '',"
    " base TEXT NOT NULL DEFAULT '',"
    " layer TEXT NOT NULL DEFAULT '',"
    " created_at INTEGER NOT NULL,"
    " data TEXT) WITHOUT ROWID;"
    "CREATE INDEX snapshots_parent ON snapshots (parent) WHERE parent <> '';"
    "CREATE INDEX snapshots_base ON snapshots (base) WHERE base <> '';"
    "CREATE INDEX snapshots_layer ON snapshots (layer) WHERE layer <> '';"
    "CREATE INDEX snapshots_key ON snapshots (key) WHERE key <> '';"
    "CREATE TABLE layers ("
    " id TEXT PRIMARY KEY,"
    " parent TEXT NOT NULL,"
    " base_path TEXT NOT NULL,"
    " virtual_bytes INTEGER NOT NULL,"
    " depth INTEGER NOT NULL,"
    " flat TEXT NOT NULL DEFAULT '',"
    " sha256 TEXT NOT NULL DEFAULT '',"
    " stamp TEXT) WITHOUT ROWID;"
    "CREATE INDEX layers_parent ON layers (parent) WHERE parent <> '';",

    /* 3: pools of warm clones */
    "CREATE TABLE pools ("
    " source TEXT PRIMARY KEY,"
    " kind TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " wanted INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX vms_warm ON vms (snapshot) WHERE state = 'warm';",

    /* 4: networks with a name, and who has which address in them. There, MAC addresses are unique
     * in their network; all others are in the home. SQLite cannot drop a constraint, so the table
     * of VMs is made anew. */
    "CREATE TABLE vms_4 ("
    " id TEXT PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " state TEXT NOT NULL,"
    " image TEXT NOT NULL,"
    " image_digest TEXT NOT NULL,"
    " snapshot TEXT NOT NULL DEFAULT '',"
    " mac TEXT NOT NULL,"
    " uid INTEGER NOT NULL,"
    " remove INTEGER NOT NULL,"
    " attached INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " spec TEXT NOT NULL,"
    " runtime TEXT,"
    " leased INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "INSERT INTO vms_4 SELECT id, name, state, image, image_digest, snapshot, mac, uid, remove,"
    " attached, created_at, spec, runtime, 0 FROM vms;"
    "DROP TABLE vms;"
    "ALTER TABLE vms_4 RENAME TO vms;"
    "CREATE UNIQUE INDEX vms_mac ON vms (mac) WHERE leased = 0;"
    "CREATE UNIQUE INDEX vms_uid ON vms (uid) WHERE uid <> 0;"
    "CREATE INDEX vms_digest ON vms (image_digest);"
    "CREATE INDEX vms_snapshot ON vms (snapshot) WHERE snapshot <> '';"
    "CREATE INDEX vms_warm ON vms (snapshot) WHERE state = 'warm';"

    "CREATE TABLE networks ("
    " id TEXT PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " created_at INTEGER NOT NULL,"
    " data TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE leases ("
    " network TEXT NOT NULL REFERENCES networks (id),"
    " ip INTEGER NOT NULL,"
    " mac TEXT NOT NULL,"
    " vm TEXT NOT NULL REFERENCES vms (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,"
    " card INTEGER NOT NULL,"
    " PRIMARY KEY (network, ip)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX leases_mac ON leases (network, mac);"
    "CREATE UNIQUE INDEX leases_vm ON leases (vm, card);",

    /* 5: labs, whose copies have the same MAC addresses */
    "CREATE TABLE labs ("
    " id TEXT PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " state TEXT NOT NULL,"
    " snapshot TEXT NOT NULL DEFAULT '',"
    " created_at INTEGER NOT NULL,"
    " description TEXT NOT NULL) WITHOUT ROWID;"
    "ALTER TABLE vms ADD COLUMN lab TEXT REFERENCES labs (id);"
    "ALTER TABLE networks ADD COLUMN lab TEXT REFERENCES labs (id);"
    "CREATE INDEX vms_lab ON vms (lab) WHERE lab IS NOT NULL;"
    "CREATE INDEX networks_lab ON networks (lab) WHERE lab IS NOT NULL;"
    "DROP INDEX vms_mac;"
    "CREATE UNIQUE INDEX vms_mac ON vms (mac) WHERE leased = 0 AND lab IS NULL;",

    /* 6: labs' snapshots, each of which is one of each VM */
    "CREATE TABLE lab_snapshots ("
    " id TEXT PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " lab TEXT NOT NULL,"
    " lab_id TEXT NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " data TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE lab_snapshot_members ("
    " snapshot TEXT PRIMARY KEY REFERENCES snapshots (id),"
    " lab_snapshot TEXT NOT NULL REFERENCES lab_snapshots (id) ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE INDEX lab_snapshot_members_of ON lab_snapshot_members (lab_snapshot);",

    /* 7: VMs to which something happens by itself */
    ("ALTER TABLE vms ADD COLUMN tended INTEGER NOT NULL DEFAULT 0;"
     "CREATE INDEX vms_tended ON vms (tended) WHERE tended <> 0;"),

    /* 8: seeds, volumes, and which VMs and snapshots have them */
    ("CREATE TABLE seeds ("
     " name TEXT PRIMARY KEY,"
     " digest TEXT NOT NULL,"
     " created_at INTEGER NOT NULL,"
     " detail TEXT) WITHOUT ROWID;"
     "CREATE INDEX seeds_digest ON seeds (digest);"
     "CREATE TABLE volumes ("
     " id TEXT PRIMARY KEY,"
     " name TEXT NOT NULL UNIQUE,"
     " created_at INTEGER NOT NULL,"
     " detail TEXT) WITHOUT ROWID;"
     "CREATE TABLE disk_uses ("
     " owner TEXT NOT NULL,"
     " number INTEGER NOT NULL,"
     " base TEXT NOT NULL,"
     " volume TEXT NOT NULL,"
     " read_only INTEGER NOT NULL,"
     " layer TEXT NOT NULL,"
     " freezing TEXT NOT NULL,"
     " PRIMARY KEY (owner, number)) WITHOUT ROWID;"
     "CREATE INDEX disk_uses_base ON disk_uses (base) WHERE base <> '';"
     "CREATE INDEX disk_uses_volume ON disk_uses (volume) WHERE volume <> '';"
     "CREATE INDEX disk_uses_layer ON disk_uses (layer) WHERE layer <> '';"
     "CREATE INDEX disk_uses_freezing ON disk_uses (freezing) WHERE freezing <> '';"
     "CREATE TRIGGER vms_disk_uses AFTER DELETE ON vms BEGIN"
     " DELETE FROM disk_uses WHERE owner = old.id; END;"
     "CREATE TRIGGER snapshots_disk_uses AFTER DELETE ON snapshots BEGIN"
     " DELETE FROM disk_uses WHERE owner = old.id; END;"),
};

static int read_version(Store *store, uint64_t *version, Error *error) {
    return rows_count(store, "PRAGMA user_version", NULL, version, error);
}

static int apply_migration(Store *store, size_t index, Error *error) {
    _cleanup_free_ char *count = str_format("PRAGMA user_version=%zu", index + 1);
    int r = store_begin(store, error);
    if (r < 0)
        return r;
    r = store_execute(store, migrations[index], error);
    if (r >= 0)
        r = store_execute(store, count, error);
    if (r < 0) {
        store_rollback(store);
        return r;
    }
    return store_commit(store, error);
}

int schema_migrate(Store *store, Error *error) {
    uint64_t version;
    int r = read_version(store, &version, error);
    if (r < 0)
        return r;
    if (version > ARRAY_SIZE(migrations)) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP,
                  "the store was written by a newer ramet (schema %llu, this one knows %zu)",
                  (unsigned long long)version, ARRAY_SIZE(migrations));
        error_set_hint(error, "use that ramet, or another RAMET_HOME");
        return -ENOTSUP;
    }
    for (size_t i = version; i < ARRAY_SIZE(migrations); i++) {
        r = apply_migration(store, i, error);
        if (r < 0)
            return error_add_context(error, "cannot bring the schema to version %zu", i + 1);
    }
    return 0;
}
