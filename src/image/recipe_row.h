/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_RECIPE_ROW_H
#define RAMET_IMAGE_RECIPE_ROW_H

/* Within this folder: recipes. A recipe fills a folder, or writes a tar, with a root file system;
 * what is done with it is the same for all (image.c). */

#include "image/image.h"

typedef struct RecipeOutput {
    const char *folder; /* borrowed: new path in scratch for a root folder; not made yet */
    const char *tar;    /* borrowed: likewise for a tar */
    bool is_tar;        /* which of both it became */
} RecipeOutput;

typedef struct RecipeRequest {
    const char *suite;          /* borrowed: what comes after the colon, or NULL */
    const StrList *include;     /* borrowed: checked package names */
    const KernelBundle *kernel; /* borrowed */
} RecipeRequest;

typedef struct Recipe {
    const char *name;
    bool takes_suite;
    bool takes_include;
    bool reproducible;   /* the same inputs give the same bytes */
    uint64_t size_bytes; /* of the file system unless asked otherwise */
    uint64_t default_memory_bytes;
    ImageInit init;
    int (*make)(const ImageContext *context, const RecipeRequest *request, RecipeOutput *output,
                Error *error);
} Recipe;

extern const Recipe recipe_busybox;
extern const Recipe recipe_debian;

/* The time that reproducible images carry in all their files, seconds since 1970. */
#define RECIPE_EPOCH 1704067200 /* 2024-01-01T00:00:00Z */

#endif
