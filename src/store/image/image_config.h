/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_STORE_IMAGE_IMAGE_CONFIG_H
#define RAMET_STORE_IMAGE_IMAGE_CONFIG_H

/* How an image is run, as it says itself: the OCI image specification's config.md. It lies in the
 * rows of images, and as it was changed for a VM in those of VMs. */

#include "base/json.h"
#include "base/str.h"

typedef struct ImageConfig {
    StrList entrypoint;   /* owned, as are all of these: the program and its first arguments */
    StrList command;      /* what follows them; alone the program itself */
    StrList env;          /* "K=V" */
    StrList ports;        /* that it serves: "80/tcp" */
    char *directory;      /* that its programs begin in; NULL: "/" */
    char *user;           /* name or number, optionally ":group"; NULL: root */
    unsigned stop_signal; /* 0: TERM */
    json_t *labels;
    bool beside_init; /* the program runs though the image has an init of its own */
    char *ready;      /* a line that succeeds once the program is up; VMs of the image are forked of
                         one that is then. NULL: they start it */
    uint64_t ready_timeout_s;
} ImageConfig;

/* As an object, the caller's. */
json_t *image_config_to_json(const ImageConfig *config);

/* From a row, which nobody checks again, into a struct of zeroes. json may be NULL. */
void image_config_from_json(const json_t *json, ImageConfig *config);

/* Into a struct that held nothing before. */
void image_config_copy(const ImageConfig *config, ImageConfig *copy);

/* Leaves zeroes. */
void image_config_free(ImageConfig *config);
#define _cleanup_image_config_ _cleanup_(image_config_free)

/* Entrypoint and command: a list, the caller's; NULL: there is no program. */
json_t *image_config_argv(const ImageConfig *config);

/* Leaves of variables of one name the last one. Takes the list and gives what it became. */
json_t *env_merge(json_t *list);

/* Lists of words between rows and structs; of other structs, too. */
json_t *words_to_json(const StrList *words);
void words_from_json(const json_t *json, StrList *words);
void words_copy(const StrList *words, StrList *copy);

#endif
