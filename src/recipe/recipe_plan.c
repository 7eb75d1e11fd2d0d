/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/recipe_plan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "home/mount.h"
#include "home/spec.h"
#include "proto/agent.h"

#define JSON_BYTES_MAX (4u << 20)
#define STEPS_MAX 200
#define LINE_MAX_BYTES 65536
#define STEP_SECONDS 3600
#define STEP_SECONDS_MAX 86400
#define READY_SECONDS 300
#define READY_BYTES_MAX 1023

void recipe_plan_free(RecipePlan *plan) {
    vm_spec_free(&plan->spec);
    free(plan->steps);
    json_decref(plan->json);
}

/* ---- what comes ---- */

static int read_json(int fd, uint64_t json_bytes, json_t **json, uint64_t *archives, Error *error) {
    off_t size = lseek(fd, 0, SEEK_END);
    _cleanup_free_ char *text = NULL;
    if (size < 0)
        return error_set_errno(error, errno, "cannot read the upload");
    if (json_bytes == 0 || json_bytes > JSON_BYTES_MAX || json_bytes > (uint64_t)size)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "recipe_bytes is not the length of a recipe at the upload's end");
    text = malloc(json_bytes);
    if (!text)
        return error_set_errno(error, ENOMEM, "cannot read the recipe");
    *archives = (uint64_t)size - json_bytes;
    if (fd_pread_full(fd, text, json_bytes, (off_t)*archives) != (ssize_t)json_bytes)
        return error_set_errno(error, EIO, "cannot read the upload");
    return json_parse("the recipe", text, json_bytes, json, error);
}

static int wrong(Error *error, const char *what) {
    return error_set(error, ERROR_USAGE, EINVAL, "the recipe: %s", what);
}

/* ---- steps ---- */

static int read_network(const json_t *object, const char **network, Error *error) {
    int r = json_opt_string("the recipe", object, "network", network, error);
    if (r >= 0 && !str_equal(*network, "user") && !str_equal(*network, "none"))
        r = wrong(error, "network is neither user nor none");
    return r;
}

static int read_timeout(const json_t *object, uint64_t *seconds, const char *key, Error *error) {
    int r = json_opt_u64("the recipe", object, key, seconds, error);
    if (r >= 0 && (*seconds < 1 || *seconds > STEP_SECONDS_MAX))
        r = wrong(error, "a timeout is not within 1 … 86400 seconds");
    return r;
}

/* A word that no package manager takes for an option. */
static bool is_package(const json_t *value) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value) || strlen(text) > 255 || !*text)
        return false;
    for (const char *c = text; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+._:=~-", *c))
            return false;
    return !strchr("-+._:=~", *text);
}

static int read_packages(const json_t *object, RecipeStep *step, Error *error) {
    const json_t *package;
    size_t i;
    step->packages = json_object_get(object, "packages");
    if (json_array_size(step->packages) < 1 || json_array_size(step->packages) > 1000)
        return wrong(error, "packages is no list of 1 to 1000 names");
    str_set(step->title, "packages");
    json_array_foreach(step->packages, i, package) {
        size_t size = strlen(step->title);
        if (!is_package(package))
            return wrong(error, "packages has what is no name of a package");
        (void)snprintf(step->title + size, sizeof(step->title) - size, " %s",
                       json_string_value(package));
    }
    return 0;
}

static int read_copy(const json_t *object, uint64_t archives, uint64_t *used, RecipeStep *step,
                     Error *error) {
    int r = json_get_string("a copy", object, "path", &step->path, error);
    step->from = "files";
    if (r >= 0)
        r = json_opt_string("a copy", object, "from", &step->from, error);
    if (r >= 0)
        r = json_get_u64("a copy", object, "bytes", &step->bytes, error);
    if (r >= 0)
        r = json_opt_u64("a copy", object, "flags", &step->flags, error);
    if (r < 0)
        return r;
    if (step->path[0] != '/' || strlen(step->path) >= 4096)
        return wrong(error, "the path of a copy is not absolute");
    if (step->flags & ~(uint64_t)(COPY_INTO_FOLDER | COPY_EXTRACT))
        return wrong(error, "a copy has flags that there are not");
    if (step->bytes > archives - *used)
        return wrong(error, "an archive is not in the upload");
    step->offset = *used;
    *used += step->bytes;
    (void)snprintf(step->title, sizeof(step->title), "copy %.50s to %.50s", step->from, step->path);
    return 0;
}

static int read_run(const json_t *object, RecipeStep *step, Error *error) {
    int r = json_get_string("a step", object, "command", &step->command, error);
    if (r >= 0 && (!*step->command || strlen(step->command) > LINE_MAX_BYTES))
        r = wrong(error, "a command is empty or too long");
    if (r >= 0)
        (void)snprintf(step->title, sizeof(step->title), "run %.*s%s",
                       (int)MIN_OF(strcspn(step->command, "\n"), 100u), step->command,
                       strcspn(step->command, "\n") < strlen(step->command) ? " …" : "");
    return r;
}

static int read_step(const RecipePlan *plan, const json_t *object, uint64_t archives,
                     uint64_t *used, RecipeStep *step, Error *error) {
    const char *kind = "";
    int r = json_get_string("a step", object, "kind", &kind, error);
    *step = (RecipeStep){.network = "user", .timeout_s = STEP_SECONDS};
    if (r >= 0)
        r = read_network(plan->json, &step->network, error);
    if (r >= 0)
        r = read_network(object, &step->network, error);
    if (r >= 0)
        r = read_timeout(plan->json, &step->timeout_s, "timeout_s", error);
    if (r >= 0)
        r = read_timeout(object, &step->timeout_s, "timeout_s", error);
    if (r >= 0)
        r = json_opt_u64("a step", object, "line", &step->line, error);
    if (r < 0)
        return r;
    if (str_equal(kind, "run"))
        return read_run(object, step, error);
    if (str_equal(kind, "packages")) {
        step->kind = RECIPE_PACKAGES;
        return read_packages(object, step, error);
    }
    step->kind = RECIPE_COPY;
    return str_equal(kind, "copy") ? read_copy(object, archives, used, step, error)
                                   : wrong(error, "a step is neither run, packages nor copy");
}

static int read_steps(RecipePlan *plan, uint64_t archives, Error *error) {
    const json_t *list = json_object_get(plan->json, "steps"), *step;
    uint64_t used = 0;
    size_t i;
    int r = 0;
    if (list && !json_is_array(list))
        return wrong(error, "steps is no list");
    if (json_array_size(list) > STEPS_MAX)
        return wrong(error, "there are more than 200 steps");
    plan->n_steps = json_array_size(list);
    plan->steps = calloc(plan->n_steps + 1, sizeof(*plan->steps));
    if (!plan->steps)
        return error_set_errno(error, ENOMEM, "cannot read the recipe");
    json_array_foreach(list, i, step) {
        if (r >= 0)
            r = read_step(plan, step, archives, &used, &plan->steps[i], error);
    }
    return r;
}

/* ---- seeds ---- */

static int read_seed(const RecipePlan *plan, const json_t *object, RecipeSeed *seed, Error *error) {
    int r = json_get_string("a seed", object, "from", &seed->from, error);
    if (r >= 0)
        r = json_get_string("a seed", object, "path", &seed->path, error);
    if (r >= 0)
        r = json_opt_u64("a seed", object, "line", &seed->line, error);
    if (r >= 0)
        r = vm_mount_path_check(seed->path, error);
    for (const RecipeSeed *other = plan->seeds; r >= 0 && other < seed; other++)
        if (str_equal(other->path, seed->path))
            r = error_set(error, ERROR_USAGE, EINVAL, "two seeds would be at %s", seed->path);
    return r < 0 ? recipe_line_error(plan, seed->line, "seed", error) : 0;
}

static int read_seeds(RecipePlan *plan, Error *error) {
    const json_t *list = json_object_get(plan->json, "seeds");
    int r = 0;
    if (list && !json_is_array(list))
        return wrong(error, "seeds is no list");
    if (json_array_size(list) > ARRAY_SIZE(plan->seeds))
        return wrong(error, "there are more than 7 seeds");
    for (size_t i = 0; r >= 0 && i < json_array_size(list); i++)
        r = read_seed(plan, json_array_get(list, i), &plan->seeds[plan->n_seeds++], error);
    return r;
}

/* ---- the VMs ---- */

/* Checked as that of any VM. */
static int read_spec(RecipePlan *plan, Error *error) {
    static const char *const members[] = {"memory_bytes", "cpus", "disk_bytes", "env"};
    _cleanup_json_ json_t *spec = json_object();
    const char *base;
    int r = json_get_string("the recipe", plan->json, "base", &base, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(spec, "image", json_string(base));
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *value = json_object_get(plan->json, members[i]);
        if (value)
            (void)json_object_set(spec, members[i], value);
    }
    r = json_opt_u64("the recipe", plan->json, "base_line", &plan->base_line, error);
    if (r >= 0)
        r = vm_spec_parse(spec, &plan->spec, error);
    return r < 0 ? error_add_context(error, "%s", plan->file) : 0;
}

/* ---- how the image is run ---- */

static int check_words(const json_t *json, const char *key, Error *error) {
    const json_t *list = json_object_get(json, key), *word;
    size_t i;
    if (list && (!json_is_array(list) || json_array_size(list) > 256))
        return error_set(error, ERROR_USAGE, EINVAL, "the recipe: %s is no list of words", key);
    json_array_foreach(list, i, word) {
        if (!json_is_string(word) || strlen(json_string_value(word)) != json_string_length(word))
            return error_set(error, ERROR_USAGE, EINVAL, "the recipe: %s has what is no text", key);
    }
    return 0;
}

static int check_settings(RecipePlan *plan, Error *error) {
    static const char *const words[] = {"entrypoint", "command", "ports"};
    const char *text = NULL;
    int r = json_opt_string("the recipe", plan->json, "user", &text, error);
    if (r >= 0)
        r = json_opt_string("the recipe", plan->json, "directory", &text, error);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(words); i++)
        r = check_words(plan->json, words[i], error);
    plan->ready_timeout_s = READY_SECONDS;
    if (r >= 0)
        r = json_opt_string("the recipe", plan->json, "ready", &plan->ready, error);
    if (r >= 0 && plan->ready && (!*plan->ready || strlen(plan->ready) > READY_BYTES_MAX))
        r = wrong(error, "ready is empty or too long");
    if (r >= 0)
        r = json_opt_u64("the recipe", plan->json, "ready_line", &plan->ready_line, error);
    if (r >= 0)
        r = read_timeout(plan->json, &plan->ready_timeout_s, "ready_timeout_s", error);
    return r;
}

/* When its VMs are ready is the image's own, and not its base's. */
static void put_ready(const RecipePlan *plan, json_t *settings) {
    (void)json_object_del(settings, "ready");
    (void)json_object_del(settings, "ready_timeout_s");
    if (!plan->ready)
        return;
    (void)json_object_set_new(settings, "ready", json_string(plan->ready));
    (void)json_object_set_new(settings, "ready_timeout_s",
                              json_integer((json_int_t)plan->ready_timeout_s));
}

json_t *recipe_plan_settings(const RecipePlan *plan, const json_t *of_base, bool has_init) {
    static const char *const members[] = {"entrypoint", "command", "ports", "user", "directory"};
    json_t *settings = of_base ? json_copy((json_t *)of_base) : json_object(), *env;
    if (json_object_get(plan->json, "entrypoint")) /* whose arguments were another's */
        (void)json_object_del(settings, "command");
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *value = json_object_get(plan->json, members[i]);
        if (value)
            (void)json_object_set(settings, members[i], value);
    }
    if (has_init &&
        (json_object_get(plan->json, "entrypoint") || json_object_get(plan->json, "command")))
        (void)json_object_set_new(settings, "beside_init", json_true());
    put_ready(plan, settings);
    env = json_copy(json_object_get(settings, "env"));
    env = env ? env : json_array();
    (void)json_array_extend(env, json_object_get(plan->json, "env"));
    env = env_merge(env);
    if (json_array_size(env) > 0)
        (void)json_object_set(settings, "env", env);
    json_decref(env);
    if (of_base || json_object_size(settings) > 0)
        return settings;
    json_decref(settings);
    return NULL;
}

/* ---- all of it ---- */

int recipe_plan_read(int fd, uint64_t json_bytes, RecipePlan *plan, Error *error) {
    uint64_t archives = 0;
    int r;
    *plan = (RecipePlan){.file = "the recipe"};
    vm_spec_init(&plan->spec);
    r = read_json(fd, json_bytes, &plan->json, &archives, error);
    if (r >= 0)
        r = json_opt_string("the recipe", plan->json, "file", &plan->file, error);
    if (r >= 0)
        r = read_spec(plan, error);
    if (r >= 0)
        r = read_seeds(plan, error);
    if (r >= 0)
        r = check_settings(plan, error);
    return r < 0 ? r : read_steps(plan, archives, error);
}

int recipe_line_error(const RecipePlan *plan, uint64_t line, const char *what, Error *error) {
    return error_add_context(error, "%s:%llu: %s", plan->file, (unsigned long long)line, what);
}

int recipe_step_error(const RecipePlan *plan, const RecipeStep *step, Error *error) {
    return error_add_context(error, "%s:%llu: step %zu of %zu, %s", plan->file,
                             (unsigned long long)step->line, (size_t)(step - plan->steps) + 1,
                             plan->n_steps, step->title);
}
