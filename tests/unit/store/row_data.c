/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "base/util.h"
#include "store/disks/layers.h"
#include "store/impairment.h"
#include "store/open.h"
#include "store/row_fields.h"
#include "store/snapshot_data.h"
#include "store/vm_policy.h"
#include "store/vm_runtime.h"

#include "check.h"

/* As earlier versions wrote them. */
#define FACTS                                                                               \
    "{\"format\":2,\"image_digest\":\"sha256:e3\",\"kernel_key\":\"97\",\"initramfs_key\":" \
    "\"51\",\"qemu_sha256\":\"14\",\"qemu_version\":\"7.2.22 (Debian)\",\"accel\":\"tcg\"," \
    "\"machine\":\"microvm\",\"machine_options\":\"microvm,suppress-vmdesc=on\","           \
    "\"cpu\":\"qemu64,+arat\",\"host_cpu\":\"\",\"memory_bytes\":134217728,\"cpus\":1,"     \
    "\"devices\":\"root;net;agent;console\"@}"
#define STAMP "{\"size\":14289,\"mtime_ns\":1795874992170603238,\"inode\":1083642@}"

#define SPEC                                                                                   \
    "{\"name\":\"web\",\"image\":\"debian\",\"memory_bytes\":33554432,\"cpus\":2,\"network\":" \
    "\"user\",\"forwards\":[{\"host_ip\":\"127.0.0.1\",\"host_port\":8080,\"guest_port\":80,"  \
    "\"protocol\":\"tcp\"},{\"host_ip\":\"0.0.0.0\",\"host_port\":53,\"guest_port\":53,"       \
    "\"protocol\":\"udp\"}],\"env\":[\"A=1\",\"B=\"],\"labels\":{\"role\":\"db\"},\"cold\":true@}"

/* With `more` in the place of each '@'. */
static json_t *parse(const char *pattern, const char *more) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    json_t *json = NULL;
    for (const char *at = pattern; *at; at++)
        strbuf_add(&text, *at == '@' ? more : at, *at == '@' ? strlen(more) : 1);
    if (json_parse("a row", text.data, text.size, &json, &error) < 0)
        fprintf(stderr, "%s\n", error_message(&error));
    CHECK(json);
    return json;
}

static const char snapshot[] =
    "{\"spec\":" SPEC
    ",\"kernel_key\":\"97\",\"memory_bytes\":134217728,\"kind\":\"full\",\"held\":true,"
    "\"files\":{\"memory\":{\"name\":\"memory.base.zst\",\"sha256\":\"aa\",\"compressed\":\"zstd\","
    "\"stored_sha256\":\"bb\",\"bytes\":134217728,\"data_bytes\":1081344,\"stamp\":" STAMP "@},"
    "\"state\":{\"name\":\"state\",\"sha256\":\"7a\",\"stamp\":" STAMP "}@},\"facts\":" FACTS "@}";

static const char runtime[] =
    "{\"base\":\"/images/b.raw\",\"keeper\":{\"pid\":28638,\"start_ticks\":1964082@},"
    "\"freezing\":{\"layer\":\"52\",\"file\":\"disk-2.qcow2\"@},\"facts\":" FACTS
    ",\"standby_disk\":" STAMP "@}";

static void check_stamp(const FileStamp *stamp) {
    CHECK_INT(stamp->size, 14289);
    CHECK_INT(stamp->mtime_ns, 1795874992170603238);
    CHECK_INT(stamp->inode, 1083642);
}

static void check_facts(const SnapshotFacts *facts) {
    CHECK_INT(facts->format, 2);
    CHECK_STR(facts->qemu_version, "7.2.22 (Debian)");
    CHECK_STR(facts->host_cpu, "");
    CHECK_INT(facts->cpus, 1);
    CHECK(!facts->network);
}

static void check_spec(const VmSpec *spec) {
    CHECK_STR(spec->name, "web");
    CHECK_INT(spec->memory_bytes, 33554432); /* less than what is asked of a new VM */
    CHECK_INT(spec->cpus, 2);
    CHECK_INT(spec->forwards.count, 2);
    CHECK_INT(spec->forwards.items[0].host_port, 8080);
    CHECK(spec->forwards.items[1].udp && !spec->forwards.items[0].udp);
    CHECK_STR(spec->env.items[1], "B=");
    CHECK(spec->cold && !spec->remove);
}

/* Read and written again it is the same, with what a later version may have put anywhere. */
static void test_snapshot(const char *more) {
    _cleanup_json_ json_t *before = parse(snapshot, more), *after = NULL;
    _cleanup_(snapshot_data_free) SnapshotData data = {0};
    snapshot_data_from_json(before, &data);
    CHECK_STR(data.files.memory.name, "memory.base.zst");
    CHECK_STR(data.files.memory.compressed, "zstd");
    CHECK_STR(data.files.memory.stored_sha256, "bb");
    CHECK_INT(data.files.memory.data_bytes, 1081344);
    CHECK_STR(data.files.memory.tree, "");
    CHECK_STR(data.files.state.sha256, "7a");
    check_stamp(&data.files.state.stamp);
    check_facts(&data.facts);
    check_spec(&data.spec);
    after = snapshot_data_to_json(&data);
    CHECK(json_equal(before, after));
}

static void test_runtime(const char *more) {
    _cleanup_json_ json_t *before = parse(runtime, more), *after = NULL;
    _cleanup_(vm_runtime_free) VmRuntime found = {0};
    vm_runtime_from_json(before, &found);
    CHECK_INT(found.keeper.pid, 28638);
    CHECK_INT(found.keeper.start_ticks, 1964082);
    CHECK_INT(found.qemu.pid, 0);
    CHECK_STR(found.root.freezing.layer, "52");
    CHECK_STR(found.root.freezing.file, "disk-2.qcow2");
    check_stamp(&found.root.stamp);
    check_facts(&found.facts);
    after = vm_runtime_to_json(&found);
    CHECK(json_equal(before, after));
}

/* What every version before wrote, empty members and all, is read; a copy has all of it. */
static void test_spec(void) {
    static const char text[] =
        "{\"name\":\"web\",\"image\":\"a\",\"memory_bytes\":16777216,\"cpus\":1,\"disk_bytes\":0,"
        "\"network\":\"none\",\"forwards\":[],\"env\":[\"A=1\"],\"wait_for\":\"\",\"wait_timeout_"
        "s\":0,"
        "\"remove\":false,\"cold\":false,\"hostname\":\"\",\"labels\":{\"k\":\"v\"},\"later\":[1]}";
    _cleanup_json_ json_t *json = parse(text, ""), *one = NULL, *other = NULL;
    _cleanup_vm_spec_ VmSpec spec = {0}, copy;
    vm_spec_from_json(json, &spec);
    CHECK_INT(spec.memory_bytes, 16777216);
    CHECK_INT(spec.cards.count, 1);
    CHECK_STR(vm_spec_network(&spec), "none");
    CHECK_INT(spec.forwards.count, 0);
    vm_spec_copy(&spec, &copy);
    one = vm_spec_to_json(&spec);
    other = vm_spec_to_json(&copy);
    CHECK(json_equal(one, other));
    CHECK_INT(json_array_size(json_object_get(other, "later")), 1);
}

/* Several cards, or one with an address of its choice, are a list. */
static void test_cards(void) {
    static const char text[] =
        "{\"name\":\"web\",\"image\":\"a\",\"cpus\":1,\"network\":[{\"name\":\"user\",\"ip\":\"\","
        "\"mac\":\"\",\"allow_host\":true},{\"name\":\"lan\",\"ip\":\"10.1.0.9\",\"mac\":"
        "\"52:54:00:00:00:09\",\"allow_host\":false}]}";
    _cleanup_json_ json_t *json = parse(text, ""), *after = NULL;
    _cleanup_vm_spec_ VmSpec spec = {0};
    vm_spec_from_json(json, &spec);
    CHECK_INT(spec.cards.count, 2);
    CHECK_STR(vm_spec_network(&spec), "user");
    CHECK_STR(spec.cards.items[1].ip, "10.1.0.9");
    CHECK(spec.cards.items[0].allow_host && !spec.cards.items[1].allow_host);
    CHECK(vm_spec_forward_card(&spec) == &spec.cards.items[0]);
    after = vm_spec_to_json(&spec);
    CHECK(json_equal(json, after));
}

/* What is not there leaves nothing behind. */
static void test_nothing(void) {
    _cleanup_json_ json_t *before = parse(runtime, ""), *after = NULL;
    _cleanup_(vm_runtime_free) VmRuntime found = {0};
    vm_runtime_from_json(before, &found);
    found.root.freezing = (Freezing){0};
    found.root.stamp = (FileStamp){0};
    found.keeper = (ProcessIdentity){0};
    snapshot_facts_free(&found.facts);
    after = vm_runtime_to_json(&found);
    CHECK_INT(json_object_size(after), 1);
    CHECK_STR(json_string_value(json_object_get(after, "base")), "/images/b.raw");
}

/* Wrong types are as if nothing were there. */
static void test_wrong_types(void) {
    static const char text[] =
        "{\"spec\":[1],\"files\":[1],\"facts\":7,\"memory_bytes\":\"x\",\"kind\":{}}";
    _cleanup_(snapshot_data_free) SnapshotData data = {0};
    _cleanup_json_ json_t *json = parse(text, "");
    snapshot_data_from_json(json, &data);
    CHECK_STR(data.files.memory.name, "");
    CHECK_INT(data.facts.format, 0);
    CHECK_INT(data.memory_bytes, 0);
    CHECK(!data.unknown);
}

static void sql(const char *path, const char *text) {
    sqlite3 *db = NULL;
    CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static void test_layer(void) {
    char folder[] = "/tmp/ramet-test-rows-XXXXXX";
    _cleanup_free_ char *path = NULL;
    _cleanup_(layer_row_free) LayerRow row = {.id = "1", .depth = 1}, found = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    const FileStamp stamp = {.size = 14289, .mtime_ns = 1795874992170603238, .inode = 1083642};
    Store *store = NULL;
    CHECK(mkdtemp(folder));
    path = str_format("%s/db", folder);
    row.base_path = str_copy("/base");
    CHECK_INT(store_open(path, &store, &error), 0);
    CHECK_INT(layers_insert(store, &row, &error), 0);
    CHECK_INT(layers_get(store, "1", &found, &error), 0);
    CHECK_INT(found.stamp.inode, 0);
    layer_row_free(&found);
    row.stamp = stamp;
    str_set(row.sha256, "ab");
    str_set(row.flat, "2");
    CHECK_INT(layers_update(store, &row, &error), 0);
    sql(path, "UPDATE layers SET stamp = json_set(stamp, '$.later', 1)");
    CHECK_INT(layers_update(store, &row, &error), 0);
    sql(path, "UPDATE layers SET flat = '3' WHERE json_extract(stamp, '$.later') = 1");
    CHECK_INT(layers_get(store, "1", &found, &error), 0);
    check_stamp(&found.stamp);
    CHECK_STR(found.sha256, "ab");
    CHECK_STR(found.flat, "3"); /* what was there later is kept */
    store_close(store);
    (void)path_remove_tree(folder);
}

/* A header tells how many members a table has: one that lacks some ends in empty ones. */
static void check_table(const RowField *fields, size_t n_fields) {
    for (size_t i = 0; i < n_fields; i++)
        CHECK(fields[i].name || fields[i].kind == ROW_UNKNOWN);
}
#define CHECK_TABLE(fields) check_table(fields, ARRAY_SIZE(fields))

static void test_tables_are_full(void) {
    CHECK_TABLE(file_stamp_fields);
    CHECK_TABLE(snapshot_facts_fields);
    CHECK_TABLE(vm_spec_fields);
    CHECK_TABLE(vm_freezing_fields);
    CHECK_TABLE(vm_policy_fields);
    CHECK_TABLE(vm_timers_fields);
    CHECK_TABLE(impairment_fields);
}

int main(void) {
    RUN(test_tables_are_full);
    test_snapshot("");
    test_snapshot(",\"later\":{\"a\":1}");
    test_runtime("");
    test_runtime(",\"later\":{\"a\":1}");
    RUN(test_spec);
    RUN(test_cards);
    RUN(test_nothing);
    RUN(test_wrong_types);
    RUN(test_layer);
    return 0;
}
