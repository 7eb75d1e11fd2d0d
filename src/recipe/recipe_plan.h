/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_RECIPE_RECIPE_PLAN_H
#define RAMET_RECIPE_RECIPE_PLAN_H

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "store/vm_spec.h"

typedef enum RecipeStepKind { RECIPE_RUN, RECIPE_PACKAGES, RECIPE_COPY } RecipeStepKind;

typedef struct RecipeStep {
    RecipeStepKind kind;
    uint64_t line, timeout_s;
    const char *network;       /* borrowed from the plan: "user" or "none" */
    const char *command;       /* the same: of RECIPE_RUN */
    const json_t *packages;    /* the same: names */
    const char *from;          /* the same, for people: of RECIPE_COPY */
    const char *path;          /* the same: where the copy goes */
    uint64_t flags;            /* CopyFlags */
    uint64_t offset, bytes;    /* of the archive in the upload */
    char title[120];           /* for people: "run make install" */
    char key[SHA256_HEX_SIZE]; /* of all that it stands on and of its inputs; recipe_key.h */
} RecipeStep;

/* A folder of the daemon's host, of which the VMs have a disk. */
typedef struct RecipeSeed {
    const char *from; /* borrowed from the plan, as is the other */
    const char *path;
    uint64_t line;
} RecipeSeed;

typedef struct RecipePlan {
    json_t *json;     /* owned */
    const char *file; /* borrowed from it, as are all texts */
    VmSpec spec;      /* owned: of the VMs in which steps are done */
    size_t n_seeds;
    RecipeSeed seeds[VM_MOUNTS_MAX];
    size_t n_steps;
    RecipeStep *steps; /* owned */
    const char *ready; /* a line; NULL: the image does not start warm */
    uint64_t base_line, ready_line, ready_timeout_s;
} RecipePlan;

/* Reads and checks what a client sent: of `fd` the last json_bytes are the recipe, and what is
 * before them the archives. ERROR_USAGE. */
int recipe_plan_read(int fd, uint64_t json_bytes, RecipePlan *plan, Error *error);

void recipe_plan_free(RecipePlan *plan);

/* How the image is run, as image_config.h has it, over how its base is run, which may have an init
 * of its own; the caller's. NULL: neither says anything. */
json_t *recipe_plan_settings(const RecipePlan *plan, const json_t *of_base, bool has_init);

/* Puts "FILE:LINE: WHAT" in front. */
int recipe_line_error(const RecipePlan *plan, uint64_t line, const char *what, Error *error);

/* Puts "FILE:LINE: step N of M, TITLE" in front. */
int recipe_step_error(const RecipePlan *plan, const RecipeStep *step, Error *error);

#endif
