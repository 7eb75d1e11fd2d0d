/* SPDX-License-Identifier: Apache-2.0 */

/* Building: kernel bundle → the recipe fills a folder (or tar) in scratch → ext4 → base. The
 * scratch belongs to one Publish, which removes all of it however this ends.
 *
 * A reproducible recipe gives the same digest again: publishing finds the base there and drops the
 * new one. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/base_file.h"
#include "image/image_parts.h"
#include "image/recipe.h"

#define REPRODUCIBLE_UUID "52414d45-5400-4000-8000-000000000001"

typedef struct Build {
    const ImageContext *context; /* borrowed, as all below */
    const ImageBuildRequest *request;
    const Recipe *recipe;
    const char *suite;
    StrList include;     /* owned */
    KernelBundle kernel; /* owned */
} Build;

static void build_free(Build *build) {
    strlist_free(&build->include);
    kernel_bundle_free(&build->kernel);
}

static int check_request(Build *build, Error *error) {
    const ImageBuildRequest *request = build->request;
    int r = name_check("image", request->name, error);
    if (r < 0)
        return r;
    build->recipe = recipe_find(request->recipe, &build->suite);
    if (!build->recipe) {
        _cleanup_free_ char *clean = str_sanitize(request->recipe, strnlen(request->recipe, 80));
        r = error_set(error, ERROR_USAGE, EINVAL, "there is no recipe '%s'", clean);
        error_set_hint(error, "use busybox, debian or debian:SUITE");
        return r;
    }
    r = recipe_parse_include(request->include, request->n_include, &build->include, error);
    if (r < 0)
        return r;
    if (build->include.count > 0 && !build->recipe->takes_include)
        return error_set(error, ERROR_USAGE, EINVAL, "the recipe %s takes no packages",
                         build->recipe->name);
    if (request->size_bytes > 0 && request->size_bytes % MIB != 0)
        return error_set(error, ERROR_USAGE, EINVAL, "the size must be a multiple of 1 MiB");
    return 0;
}

static uint64_t folder_bytes(const char *folder) {
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    uint64_t bytes = 0;
    for (FTSENT *entry; fts && (entry = fts_read(fts));)
        if (entry->fts_info == FTS_F) /* each of a file's names counts its part */
            bytes += (uint64_t)entry->fts_statp->st_blocks * 512 / entry->fts_statp->st_nlink;
        else if (entry->fts_info != FTS_DP && entry->fts_info != FTS_NS)
            bytes += 4096;
    if (fts)
        (void)fts_close(fts);
    return bytes;
}

/* The recipe's size, or half more than the content when that is larger; what was asked for wins. */
static uint64_t choose_size(const Build *build, uint64_t content_bytes) {
    if (build->request->size_bytes > 0)
        return build->request->size_bytes;
    uint64_t wanted = content_bytes + content_bytes / 2 + 128 * MIB;
    wanted -= wanted % MIB;
    return build->recipe->size_bytes > wanted ? build->recipe->size_bytes : wanted;
}

static int tar_to_ext4(const Build *build, const RecipeOutput *output, RootfsOptions *options,
                       Error *error) {
    _cleanup_close_ int fd = open(output->tar, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot open what the recipe made");
    options->size_bytes = choose_size(build, (uint64_t)st.st_size);
    _cleanup_(extract_source_free_p) ExtractSource *source = NULL;
    RootfsResult result;
    int r = extract_source_new(fd, build->context->cancel_fd, &source, error);
    return r < 0 ? r : rootfs_tar_to_ext4(source, options, &result, error);
}

static int make_file_system(const Build *build, const RecipeOutput *output, Publish *publish,
                            Error *error) {
    _cleanup_free_ char *scratch = image_scratch_folder(build->context);
    ImageStep step = {build->context, "writing the file system"};
    RootfsOptions options = {
        .output_path = publish_scratch_path(publish),
        .scratch_folder = scratch,
        .uuid = build->recipe->reproducible ? REPRODUCIBLE_UUID : NULL,
        .epoch_sec = build->recipe->reproducible ? RECIPE_EPOCH : 0,
        .progress = image_step_progress,
        .progress_data = &step,
        .cancel_fd = build->context->cancel_fd,
    };
    RootfsResult result;
    image_context_progress(build->context, step.step, 0, 0);
    if (output->is_tar)
        return tar_to_ext4(build, output, &options, error);
    options.size_bytes = choose_size(build, folder_bytes(output->folder));
    return rootfs_folder_to_ext4(output->folder, &options, &result, error);
}

static int run_recipe(const Build *build, Publish *publish, char base[BASE_ID_SIZE], Error *error) {
    _cleanup_free_ char *folder = str_copy(publish_extra_scratch(publish));
    _cleanup_free_ char *tar = str_copy(publish_extra_scratch(publish));
    RecipeRequest request = {
        .suite = build->suite, .include = &build->include, .kernel = &build->kernel};
    RecipeOutput output = {.folder = folder, .tar = tar};
    image_context_progress(build->context, "collecting files", 0, 0);
    int r = build->recipe->make(build->context, &request, &output, error);
    if (r >= 0)
        r = make_file_system(build, &output, publish, error);
    if (r >= 0)
        r = image_context_check(build->context, error);
    if (r >= 0)
        r = base_digest(publish_scratch_fd(publish), build->context->cancel_fd, base, error);
    return r < 0 ? r : base_publish(publish, base, error);
}

static char *describe(const Build *build) {
    StrBuf text = {0};
    strbuf_add_format(&text, "recipe %s", build->request->recipe);
    for (size_t i = 0; i < build->include.count; i++)
        strbuf_add_format(&text, "%s%s", i ? ", " : " with ", build->include.items[i]);
    return strbuf_steal(&text);
}

static int build_base(Build *build, char base[BASE_ID_SIZE], Error *error) {
    _cleanup_free_ char *lock = str_format("build-%s", build->request->name);
    PublishOptions options = image_publish_options(build->context, "images", lock);
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    int r = publish_begin(&options, &publish, &exists, error);
    if (r < 0)
        return r;
    return run_recipe(build, publish, base, error);
}

int image_build(const ImageContext *context, const ImageBuildRequest *request, ImageInfo *info,
                Error *error) {
    _cleanup_(build_free) Build build = {.context = context, .request = request};
    int r = check_request(&build, error);
    if (r >= 0)
        r = kernel_bundle_ensure(context, &request->kernel, &build.kernel, error);
    char base[BASE_ID_SIZE];
    if (r >= 0)
        r = build_base(&build, base, error);
    if (r < 0)
        return r;
    ImageInfo filled;
    r = image_fill_info(context, request->name, base, &build.kernel, request->size_bytes, &filled,
                        error);
    if (r < 0)
        return r;
    filled.init = build.recipe->init;
    filled.default_memory_bytes = build.recipe->default_memory_bytes;
    filled.source = describe(&build);
    *info = filled;
    return 0;
}
