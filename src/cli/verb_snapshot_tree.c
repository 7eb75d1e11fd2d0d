/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static void print_node(StrBuf *out, const json_t *node, const char *indent, bool last, bool top) {
    bool utf8 = output_is_utf8();
    const char *corner = utf8 ? "└─ " : "`- ", *tee = utf8 ? "├─ " : "|- ";
    const char *bar = utf8 ? "│  " : "|  ";
    const json_t *children = json_object_get(node, "children"), *child;
    const char *kind = json_string_value(json_object_get(node, "kind"));
    const char *name = json_string_value(json_object_get(node, "name"));
    const char *id = json_string_value(json_object_get(node, "id"));
    const char *state = json_string_value(json_object_get(node, "state"));
    _cleanup_free_ char *memory = output_member_size(node, "memory_bytes");
    _cleanup_free_ char *disk = output_member_size(node, "disk_bytes");
    _cleanup_free_ char *shared = output_member_size(node, "shared_bytes");
    _cleanup_free_ char *deeper = str_format("%s%s", indent, top ? "" : last ? "   " : bar);
    size_t i;
    strbuf_add_format(out, "%s%s%s ", indent,
                      top    ? ""
                      : last ? corner
                             : tee,
                      str_equal(kind, "vm") ? "VM" : "snapshot");
    if (name)
        strbuf_add_format(out, "%s", name);
    else
        strbuf_add_format(out, "%.12s", id ? id : "");
    strbuf_add_text(out, state ? " " : "");
    strbuf_add_text(out, state ? state : "");
    strbuf_add_text(out, "  ");
    if (str_equal(kind, "snapshot"))
        strbuf_add_format(out, "memory %s, ", memory);
    strbuf_add_format(out, "disk %s, shared %s\n", disk, shared);
    json_array_foreach(children, i, child)
        print_node(out, child, deeper, i + 1 == json_array_size(children), false);
}

static int snapshot_tree_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *tree = NULL;
    _cleanup_(strbuf_free) StrBuf out = {0};
    const json_t *node;
    size_t i;
    int r = client_call(API_SNAPSHOT_TREE, NULL, NULL, NULL, &tree, error);
    if (r < 0)
        return r;
    if (args->json)
        return output_json(tree, error);
    json_array_foreach(tree, i, node) print_node(&out, node, "", true, true);
    if (out.data)
        (void)fputs(out.data, stdout);
    return output_flush(error);
}

const Verb verb_snapshot_tree = {
    .name = "snapshot tree",
    .summary = "show what grows from what",
    .description = "Shows snapshots and VMs as a tree, with the room that each takes for itself (a "
                   "snapshot's saved memory, and its layer or overlay of the disk, as in snapshot "
                   "ls and inspect) and that of what it shares with others.",
    .examples = "ramet snapshot tree",
    .flags = VERB_JSON,
    .run = snapshot_tree_run,
};
