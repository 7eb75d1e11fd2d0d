/* SPDX-License-Identifier: Apache-2.0 */

/* What has to do with images and with what was booted from them. */

#include "catalog/image_remove.h"
#include "catalog/images.h"
#include "catalog/users.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/operation.h"
#include "pool/boot_cache.h"
#include "storage/bases.h"
#include "store/images.h"
#include "store/vms.h"
#include "transfer/transfer.h"
#include "verbs/verbs.h"

/* What its boot cache holds is no use of it. */
static void prune_cache(Home *home, const ImageRow *row) {
    size_t vms, names;
    if (vms_count_digest(home->store, row->digest, &vms, NULL) >= 0 && vms == 0 &&
        images_count_digest(home->store, row->digest, &names, NULL) >= 0 && names <= 1)
        boot_cache_prune(home, row->digest);
}

int image_op_remove(Home *home, Operation *operation, const char *reference, Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    int r;
    operation_enter(operation, "remove");
    r = images_find(home->store, reference, &row, error);
    if (r >= 0)
        r = users_check_pool(home, row.name, "image", row.name, error);
    if (r < 0)
        return r;
    prune_cache(home, &row);
    r = image_name_remove(home, reference, error);
    if (r >= 0)
        bases_collect(home);
    return r;
}

/* The name may have been another image's, whose boot cache goes when that was its last one. */

int image_op_build(Home *home, Operation *operation, const ImageBuildOptions *options,
                   json_t **image, Error *error) {
    int r = catalog_build_image(home, operation, options, image, error);
    boot_cache_reconcile(home);
    return r;
}

int image_op_import(Home *home, Operation *operation, const ImageImportOptions *options,
                    json_t **image, Error *error) {
    int r = catalog_import_image(home, operation, options, image, error);
    boot_cache_reconcile(home);
    return r;
}

int image_op_pull(Home *home, Operation *operation, const ImagePullOptions *options, json_t **image,
                  Error *error) {
    OciArchiveId archive;
    ImagePullOptions asked = *options;
    int r;
    asked.request.archive = &archive;
    r = catalog_pull_image(home, operation, &asked, image, error);
    if (r > 0)
        r = transfer_pull_image(home, operation, &asked.request, asked.replace, image, error);
    boot_cache_reconcile(home);
    return r;
}

int image_op_tag(Home *home, Operation *operation, const char *reference, const char *name,
                 bool replace, json_t **image, Error *error) {
    int r = catalog_tag_image(home, operation, reference, name, replace, image, error);
    boot_cache_reconcile(home);
    return r;
}
