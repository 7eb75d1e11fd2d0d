/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CATALOG_IMAGES_H
#define RAMET_CATALOG_IMAGES_H

/* What can be done with images. An image as JSON: name digest path virtual_bytes allocated_bytes
 * kernel agent_version created_at. */

#include "base/error.h"
#include "base/json.h"
#include "home/home.h"
#include "home/operation.h"
#include "image/image_adopt.h"
#include "image/oci/oci_pull.h"
#include "store/images.h"

typedef struct ImageBuildOptions { /* all borrowed; NULL or 0 where not given */
    const char *name;
    const char *from;           /* "busybox", "debian", "debian:SUITE" */
    const char *const *include; /* packages */
    size_t n_include;
    uint64_t size_bytes;
    const char *kernel; /* another kernel, and its modules' folder */
    const char *modules;
    const json_t *seeds; /* texts DIR:PATH: VMs of the image have such a disk each; NULL: none */
    bool replace;        /* the name may stand for another image, which loses it */
} ImageBuildOptions;

typedef struct ImageImportOptions { /* all borrowed; NULL or 0 where not given */
    const char *name;
    const char *path;    /* absolute; NULL: the bytes come from fd */
    int fd;              /* -1: none */
    const char *sha256;  /* of the file as it comes */
    const char *format;  /* NULL: found out */
    const char *boot;    /* NULL: found out */
    const char *machine; /* NULL: by what boots it */
    uint64_t size_bytes;
    const char *kernel;
    const char *modules;
    bool replace; /* the name may stand for another image, which loses it */
} ImageImportOptions;

typedef struct ImagePullOptions {
    ImagePullRequest request; /* its name may be NULL: made of the reference */
    bool replace;             /* as above; an image of the same reference is replaced anyway */
} ImagePullOptions;

/* ERROR_CONFLICT when the name stands for another image and is not to be replaced. VMs and
 * snapshots of an image that lost its name keep what they stand on; its base goes with the last of
 * them. */
int catalog_build_image(Home *home, Operation *operation, const ImageBuildOptions *options,
                        json_t **image, Error *error);
int catalog_import_image(Home *home, Operation *operation, const ImageImportOptions *options,
                         json_t **image, Error *error);
int catalog_adopt_image(Home *home, Operation *operation, const ImageAdoptRequest *request,
                        bool replace, const char *event, json_t **image, Error *error);

/* 1: the request's archive says what it is instead of an image of a container, as image_pull(). */
int catalog_pull_image(Home *home, Operation *operation, const ImagePullOptions *options,
                       json_t **image, Error *error);

/* Does the name stand for what the same reference gave before? Then it moves on, as a tag does. */
bool catalog_image_is_of(Home *home, const char *name, const char *reference);

/* All of them; and one by its name. */
int image_op_list(Home *home, json_t **list, Error *error);
int image_op_inspect(Home *home, const char *reference, json_t **image, Error *error);

/* Gives an image one more name. *image: what that stands for now. ERROR_CONFLICT as above. */
int catalog_tag_image(Home *home, Operation *operation, const char *reference, const char *name,
                      bool replace, json_t **image, Error *error);

/* The image to make a VM of; builds an absent one that has a recipe. */
int image_for_vm(Home *home, Operation *operation, const char *reference, ImageRow *image,
                 Error *error);

/* Where the base of an image is. The caller owns it. */
char *image_row_path(const Home *home, const ImageRow *row);

#endif
