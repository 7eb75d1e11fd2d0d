/* SPDX-License-Identifier: Apache-2.0 */

/* What the clones grow from: memory, device state, every layer of the disk, the image's base, and
 * the memory that the clones map. The daemon reads all of it each time (snapshot verify) and
 * compares it with what was frozen. Here each must have the inode and the content that it had
 * before the first clone was there. The content is compared by SHA-256, of a memory base by the
 * tree digest that was saved with it. */

#include "prove/frozen.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

static const char *text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* The first that is not as it was frozen: the caller's; NULL: none. */
static char *find_problem(const json_t *report) {
    const json_t *check;
    size_t i;
    json_array_foreach(json_object_get(report, "checks"), i, check) {
        if (!json_is_true(json_object_get(check, "ok")))
            return str_format("%s: %s", text(check, "path"), text(check, "message"));
    }
    return NULL;
}

static int verify(const Proof *proof, json_t **report, Error *error) {
    return proof_call(proof, API_SNAPSHOT_VERIFY, text(proof->snapshot, "id"), NULL, NULL, report,
                      error);
}

/* A diff stands on another snapshot's memory. */
static const char *name_of(const Proof *proof, const json_t *check) {
    const json_t *memory = json_object_get(proof->snapshot, "memory");
    const char *what = text(check, "what");
    if (str_equal(what, "memory") && !str_equal(text(check, "path"), text(memory, "path")))
        return "memory base";
    return str_equal(what, "state") ? "device state" : what;
}

/* The files that the report names. */
static json_t *list_files(const Proof *proof, const json_t *report) {
    const json_t *check;
    json_t *files = json_array();
    size_t i;
    json_array_foreach(json_object_get(report, "checks"), i, check) {
        json_t *file;
        if (!json_is_integer(json_object_get(check, "inode")))
            continue;
        file = json_copy((json_t *)check);
        (void)json_object_set_new(file, "what", json_string(name_of(proof, check)));
        (void)json_object_del(file, "ok");
        (void)json_object_del(file, "message");
        (void)json_array_append_new(files, file);
    }
    return files;
}

int frozen_remember(Proof *proof, Error *error) {
    _cleanup_json_ json_t *report = NULL;
    _cleanup_free_ char *problem = NULL;
    int r = verify(proof, &report, error);
    if (r < 0)
        return r;
    problem = find_problem(report);
    if (problem)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s", problem);
    json_decref(proof->frozen);
    proof->frozen = list_files(proof, report);
    return 0;
}

int frozen_check(Proof *proof, const char *when, Error *error) {
    _cleanup_free_ char *what = str_format("parent unchanged %s", when);
    _cleanup_free_ char *good = NULL, *problem = NULL;
    _cleanup_json_ json_t *report = NULL, *files = NULL;
    int r = verify(proof, &report, error);
    if (r < 0)
        return r;
    files = list_files(proof, report);
    problem = find_problem(report);
    if (!problem && !json_equal(files, proof->frozen))
        problem = str_copy("a file is another one now, or has another content");
    good = str_format("inode and SHA-256 of %zu files", json_array_size(proof->frozen));
    proof_add(proof, what, problem, good);
    return 0;
}

/* The SHA-256 of a memory is computed when somebody asks for its snapshot: the folder's name. */
static int add_sha256(const Proof *proof, json_t *file, Error *error) {
    _cleanup_free_ char *folder = str_copy(text(file, "path"));
    _cleanup_json_ json_t *snapshot = NULL;
    char *slash = strrchr(folder, '/');
    int r;
    if (!slash || !str_has_prefix(text(file, "what"), "memory") ||
        !json_is_null(json_object_get(file, "sha256")))
        return 0;
    *slash = '\0';
    slash = strrchr(folder, '/');
    r = proof_call(proof, API_SNAPSHOT_INSPECT, slash ? slash + 1 : folder, NULL, NULL, &snapshot,
                   error);
    if (r >= 0)
        (void)json_object_set(file, "sha256",
                              json_object_get(json_object_get(snapshot, "memory"), "sha256"));
    return r;
}

int frozen_complete(Proof *proof, Error *error) {
    int r = 0;
    for (size_t i = 0; r >= 0 && i < json_array_size(proof->frozen); i++)
        r = add_sha256(proof, json_array_get(proof->frozen, i), error);
    return r;
}
