/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_API_MEMBERS_H
#define RAMET_PROTO_API_API_MEMBERS_H

#include <stddef.h>

/* Members of the answers. A type is one of JSON Schema's, or the name of another schema here; in
 * brackets it is a list of them, and "VM|GoneVM" is one or the other. As in json_pack "?" behind
 * them says that it may be null, and "*" that it may be absent. The rows of one schema stand
 * together. */
typedef struct ApiMember {
    const char *schema;
    const char *name;
    const char *type;
    const char *summary;
} ApiMember;

extern const ApiMember api_members[];
extern const size_t api_members_count;

#endif
