/* SPDX-License-Identifier: Apache-2.0 */

/* The key of a bundle of files that the user names is taken over the content of all of them, so
 * naming the same files again finds the same bundle, and a changed one makes a new bundle. */

#include "image/kernel_files.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>

#include "base/fd.h"
#include "disk/publish.h"
#include "image/kernel_build.h"

static int hash_file(Sha256 *hash, const char *name, const char *path, Error *error) {
    char hex[SHA256_HEX_SIZE];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    int r = sha256_file(fd, hex, error);
    if (r < 0)
        return r;
    sha256_update(hash, name, strlen(name) + 1);
    sha256_update(hash, hex, sizeof(hex));
    return 0;
}

static int compare_names(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void fts_close_p(FTS **fts) {
    if (*fts)
        (void)fts_close(*fts);
}

/* All regular files below, sorted, links not followed. */
static int hash_folder(Sha256 *hash, const char *folder, Error *error) {
    char *const roots[] = {(char *)(uintptr_t)folder, NULL};
    _cleanup_(fts_close_p) FTS *fts =
        fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, compare_names);
    if (!fts)
        return error_set_errno(error, errno, "cannot read %s", folder);
    FTSENT *entry;
    while ((entry = fts_read(fts))) {
        if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
            return error_set_errno(error, entry->fts_errno, "cannot read %s", entry->fts_path);
        if (entry->fts_info != FTS_F)
            continue;
        int r = hash_file(hash, entry->fts_path + strlen(folder), entry->fts_path, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int key_of_files(const KernelSource *source, char key[SHA256_HEX_SIZE], Error *error) {
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    _cleanup_free_ char *format = str_format("ramet kernel files %d\n", KERNEL_BUNDLE_FORMAT);
    sha256_update(hash, format, strlen(format));
    int r = hash_file(hash, "kernel", source->kernel, error);
    if (r >= 0 && source->modules)
        r = hash_folder(hash, source->modules, error);
    if (r < 0)
        return r;
    sha256_finish(hash, key);
    return 0;
}

int kernel_files_ensure(const ImageContext *context, const KernelSource *source,
                        KernelBundle *bundle, Error *error) {
    char key[SHA256_HEX_SIZE];
    int r = key_of_files(source, key, error);
    if (r < 0)
        return r;
    PublishOptions options = image_publish_options(context, "kernels", key);
    options.folder = true;
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    r = publish_begin(&options, &publish, &exists, error);
    if (r < 0)
        return r;
    if (!exists) {
        KernelParts parts = {.key = key,
                             .kernel = source->kernel,
                             .modules = source->modules,
                             .source = source->kernel};
        r = kernel_parts_assemble(context, &parts, publish_scratch_path(publish), error);
        if (r >= 0)
            r = publish_commit(publish, error);
        if (r < 0)
            return error_add_context(error, "cannot use the kernel %s", source->kernel);
    }
    return kernel_bundle_open(context->home, key, bundle, error);
}
