/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/recipe_image.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "catalog/images.h"
#include "frozen/layers.h"
#include "home/inside.h"
#include "storage/bases.h"
#include "storage/image_seeds.h"

#define OF_RECIPE "recipe file "

typedef struct Making {
    Home *home; /* borrowed, as are all of these */
    Operation *operation;
    const SnapshotRow *last;
} Making;

static const char *source_of(const ImageRow *row) {
    return str_or_empty(json_string_value(json_object_get(row->detail, "source")));
}

int recipe_image_check_name(Home *home, const RecipeOptions *options, bool *replace, Error *error) {
    _cleanup_image_row_ ImageRow there = {0};
    int r = name_check("image", str_or_empty(options->name), error);
    if (r >= 0)
        r = images_get(home->store, options->name, &there, error);
    if (r < 0)
        return r;
    *replace = r > 0;
    if (r == 0 || options->replace || str_has_prefix(source_of(&there), OF_RECIPE))
        return 0;
    error_set(error, ERROR_CONFLICT, EEXIST, "there is another image %s already", options->name);
    error_set_hint(error, "choose another name, or let --replace move this one");
    return -EEXIST;
}

static int write_disk(void *data, int fd, const char *path, Error *error) {
    Making *making = data;
    operation_enter(making->operation, "flatten");
    return layer_write_raw(making->home, making->operation, making->last->layer,
                           str_or_empty(making->last->data.base_path), fd, path, error);
}

static ImageInit init_of(const ImageRow *base) {
    return image_init_from_name(json_string_value(json_object_get(base->detail, "init")));
}

json_t *recipe_image_settings(const RecipePlan *plan, const ImageRow *base) {
    return recipe_plan_settings(plan, json_object_get(base->detail, "config"),
                                init_of(base) != IMAGE_INIT_AGENT);
}

/* Does the name stand for the disk of the same step? Then that need not be written again. */
static bool is_of_step(Home *home, const char *name, const SnapshotRow *last, ImageRow *there) {
    return images_get(home->store, name, there, NULL) > 0 &&
           str_equal(json_string_value(json_object_get(there->detail, "step")), last->id);
}

bool recipe_image_is_there(Home *home, const RecipePlan *plan, const RecipeOptions *options,
                           const SnapshotRow *last, const ImageRow *base) {
    _cleanup_json_ json_t *settings = recipe_image_settings(plan, base);
    _cleanup_image_row_ ImageRow there = {0};
    return is_of_step(home, options->name, last, &there) &&
           json_equal(json_object_get(there.detail, "config"), settings);
}

/* Of the step whose image is there they are that image's. */
static int find_seeds(const Making *making, const ImageRow *there, json_t **seeds, Error *error) {
    json_t *known = json_object_get(there->detail, "seeds");
    if (!*there->digest)
        return image_seeds_take(making->home, making->operation, making->last, "a recipe", seeds,
                                error);
    *seeds = known ? json_incref(known) : NULL;
    return 0;
}

static int adopt(const Making *making, ImageAdoptRequest *request, const RecipeOptions *options,
                 const ImageRow *there, json_t **image, Error *error) {
    _cleanup_json_ json_t *seeds = NULL;
    bool replace = false;
    int r = recipe_image_check_name(making->home, options, &replace, error);
    if (r >= 0)
        r = find_seeds(making, there, &seeds, error);
    request->seeds = seeds;
    return r < 0 ? r
                 : catalog_adopt_image(making->home, making->operation, request, replace,
                                       "image.built", image, error);
}

int recipe_image_make(Home *home, Operation *operation, const RecipePlan *plan,
                      const RecipeOptions *options, const SnapshotRow *last, const ImageRow *base,
                      json_t **image, Error *error) {
    _cleanup_free_ char *source = str_format(OF_RECIPE "%s on %s", plan->file, base->name);
    _cleanup_json_ json_t *settings = recipe_image_settings(plan, base);
    _cleanup_image_row_ ImageRow there = {0};
    static const ImageRow none;
    Making making = {.home = home, .operation = operation, .last = last};
    bool of_step = is_of_step(home, options->name, last, &there);
    ImageAdoptRequest request = {.name = options->name,
                                 .kernel_key = last->data.kernel_key,
                                 .source = source,
                                 .digest = of_step ? there.digest : NULL,
                                 .minimum_disk_bytes = last->data.spec.disk_bytes,
                                 .default_memory_bytes = last->data.spec.memory_bytes,
                                 .default_cpus = last->data.spec.cpus,
                                 .init = init_of(base),
                                 .step = last->id,
                                 .settings = settings,
                                 .write = write_disk,
                                 .data = &making};
    int r;
    bases_hold(home);
    r = adopt(&making, &request, options, of_step ? &there : &none, image, error);
    bases_release(home);
    return r;
}
