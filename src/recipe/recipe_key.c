/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/recipe_key.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "disk/tar_digest.h"

#define KEY_FORMAT 1 /* another one for another way to do a step */

static json_t *describe(const RecipePlan *plan, const RecipeStep *step, const char *before) {
    return json_pack("{s:i, s:s, s:i, s:s, s:O*, s:s*, s:O*, s:s*, s:I}", "format", KEY_FORMAT,
                     "before", before, "kind", (int)step->kind, "network", step->network, "env",
                     json_object_get(plan->json, "env"), "command", step->command, "packages",
                     (json_t *)step->packages, "path", step->path, "flags",
                     (json_int_t)step->flags);
}

static int make_key(const RecipePlan *plan, RecipeStep *step, const char *before, int fd,
                    int cancel_fd, Error *error) {
    _cleanup_json_ json_t *inputs = describe(plan, step, before);
    _cleanup_free_ char *text = NULL;
    char files[SHA256_HEX_SIZE] = "";
    int r = step->kind == RECIPE_COPY
                ? tar_digest(fd, step->offset, step->bytes, cancel_fd, files, error)
                : 0;
    if (r < 0)
        return recipe_step_error(plan, step, error);
    (void)json_object_set_new(inputs, "files", json_string(files));
    text = json_dumps(inputs, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        abort();
    sha256_data(text, strlen(text), step->key);
    return 0;
}

int recipe_keys_make(RecipePlan *plan, const SnapshotRow *root, int fd, int cancel_fd,
                     Error *error) {
    _cleanup_free_ char *first =
        str_format("%s %llu", root->key, (unsigned long long)plan->spec.disk_bytes);
    const char *before = first;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < plan->n_steps; i++) {
        r = make_key(plan, &plan->steps[i], before, fd, cancel_fd, error);
        before = plan->steps[i].key;
    }
    return r;
}
