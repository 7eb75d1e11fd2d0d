/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_API_FIELD_H
#define RAMET_PROTO_API_API_FIELD_H

/* What a member of a request may be. */

#include <stdbool.h>
#include <stdint.h>

typedef enum ApiFieldType {
    API_TEXT,         /* UTF-8, min … max bytes */
    API_BYTES,        /* the same of any bytes but NUL: a path, a user */
    API_NAME,         /* a name as name_check() wants it */
    API_NUMBER,       /* integer, min … max */
    API_TIME,         /* RFC 3339, or microseconds since 1970 in digits; api_time() reads it */
    API_BOOL,         /* in a query: 0, 1, true, false */
    API_DATA,         /* any bytes, NUL too: a string or {"base64"} */
    API_TEXTS,        /* array of at most max API_BYTES */
    API_FORWARDS,     /* array of forwards, see the Forward schema */
    API_LABELS,       /* object of at most max strings */
    API_EXEC,         /* an exec request, see the fields of API_VM_EXEC */
    API_LAB_NETWORKS, /* array of at most max networks of a lab, see the LabNetwork schema */
    API_LAB_VMS,      /* array of min … max VMs of a lab, see the LabVM schema */
} ApiFieldType;

/* The most that is taken of what the command line has an option for, which names that option. */
#define API_CPUS_MAX INT32_MAX
#define API_MEMORY_MAX ((uint64_t)4 << 40)
#define API_DISK_MAX ((uint64_t)1 << 50)
#define API_MSEC_MAX 315360000000u /* ten years */

typedef enum ApiIn { API_IN_BODY, API_IN_QUERY } ApiIn;

typedef struct ApiField {
    const char *name;
    ApiFieldType type;
    ApiIn in;
    bool required;
    uint64_t min;
    uint64_t max;
    const char *choices; /* "a|b|c", or NULL */
    const char *summary;
} ApiField;

#endif
