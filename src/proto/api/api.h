/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_API_API_H
#define RAMET_PROTO_API_API_H

/* The table of operations of the HTTP API. The daemon routes by it and checks requests with it, the
 * client builds its paths from it, and the OpenAPI description is made of it. docs/protocols.md
 * shows the same as prose. */

#include "base/json.h"
#include "proto/api/api_field.h"

/* In the order of the table, which is sorted by path template and then by method. */
typedef enum ApiId {
    API_DAEMON_STOP,
    API_DF,
    API_DOCTOR,
    API_EVENTS,
    API_FORK,
    API_IMAGE_LIST,
    API_IMAGE_BUILD,
    API_IMAGE_IMPORT,
    API_IMAGE_PULL,
    API_IMAGE_RECIPE,
    API_IMAGE_REMOVE,
    API_IMAGE_INSPECT,
    API_IMAGE_EXPORT,
    API_IMAGE_TAG,
    API_LAB_FORK,
    API_LAB_SNAPSHOT_LIST,
    API_LAB_SNAPSHOT_REMOVE,
    API_LAB_SNAPSHOT_INSPECT,
    API_LAB_LIST,
    API_LAB_UP,
    API_LAB_DOWN,
    API_LAB_INSPECT,
    API_LAB_SNAPSHOT,
    API_NETWORK_LIST,
    API_NETWORK_CREATE,
    API_NETWORK_REMOVE,
    API_NETWORK_INSPECT,
    API_NETWORK_CAPTURE,
    API_NETWORK_IMPAIR,
    API_OPENAPI,
    API_POOL_LIST,
    API_POOL_SET,
    API_PRUNE,
    API_RUN,
    API_SEED_LIST,
    API_SEED_CREATE,
    API_SEED_REMOVE,
    API_SEED_INSPECT,
    API_SNAPSHOT_TREE,
    API_SNAPSHOT_LIST,
    API_SNAPSHOT_IMPORT,
    API_SNAPSHOT_PULL,
    API_SNAPSHOT_REMOVE,
    API_SNAPSHOT_INSPECT,
    API_SNAPSHOT_EXPORT,
    API_SNAPSHOT_VERIFY,
    API_STATS,
    API_VERSION,
    API_VM_LIST,
    API_VM_CREATE,
    API_VM_REMOVE,
    API_VM_INSPECT,
    API_VM_AGENT,
    API_VM_COMMIT,
    API_VM_COPY_IN,
    API_VM_COPY_OUT,
    API_VM_EXEC_LIST,
    API_VM_EXEC,
    API_VM_EXEC_KILL,
    API_VM_EXEC_WAIT,
    API_VM_FILE_READ,
    API_VM_FILE_WRITE,
    API_VM_FILE_STAT,
    API_VM_KILL,
    API_VM_LIMIT,
    API_VM_LOGS,
    API_VM_PAUSE,
    API_VM_PORT_REMOVE,
    API_VM_PORT_ADD,
    API_VM_PROXY,
    API_VM_RENAME,
    API_VM_RESTART,
    API_VM_RESUME,
    API_VM_SNAPSHOT,
    API_VM_STAGES,
    API_VM_STANDBY,
    API_VM_START,
    API_VM_STOP,
    API_VM_UNPAUSE,
    API_VM_UPDATE,
    API_VM_WAIT,
    API_VOLUME_LIST,
    API_VOLUME_CREATE,
    API_VOLUME_REMOVE,
    API_VOLUME_INSPECT,
    API_VOLUME_EXPORT,
    API_ID_COUNT,
} ApiId;

typedef enum ApiAnswer {
    API_ANSWER_JSON,    /* one document; a stream of events with its result when `events` is set and
                           asked for */
    API_ANSWER_LINES,   /* always a stream of JSON lines */
    API_ANSWER_TEXT,    /* text/plain, as it comes */
    API_ANSWER_UPGRADE, /* 101 and the client's stream */
    API_ANSWER_EXEC,    /* the same, or without the upgrade a document or lines of a command */
    API_ANSWER_FILE,    /* the bytes of a file, or a folder as tar */
} ApiAnswer;

typedef struct ApiOperation {
    ApiId id;
    const char *method; /* GET, POST, PUT, DELETE */
    const char *path;   /* "/v1/vms/{vm}/start"; at most one {argument}, a whole segment */
    const char *name;   /* operationId */
    const char *summary;
    const ApiField *fields; /* ends with a NULL name; may be NULL */
    ApiAnswer answer;
    const char *schema; /* of the answer: a type as in api_members.h; NULL: none */
    bool events;        /* streams its events when asked with Accept: application/x-ndjson */
    bool upload; /* takes its body as application/octet-stream too, then with its body fields in the
                    query; a PUT takes any body, and tells application/x-tar from others */
} ApiOperation;

/* The row of `id`. */
const ApiOperation *api_operation(ApiId id);

#define API_ARGUMENT_MAX 256

/* Finds the row for a method and a path (as it was sent, without query) and the path's argument,
 * decoded ("" when it has none). -ENOENT: no such path; -EOPNOTSUPP: the path exists with other
 * methods, which `allowed` (at least 64 bytes) then lists for the Allow header. Not an Error: the
 * caller answers 404 or 405. */
int api_match(const char *method, const char *path, const ApiOperation **operation,
              char argument[API_ARGUMENT_MAX], char allowed[64]);

/* The path for a call: the argument (NULL if there is none) percent-encoded in its place, then
 * `query`
 * ("all=1&x=y", already encoded; NULL: none). The caller owns it. */
char *api_path(ApiId id, const char *argument, const char *query);

/* Checks a request (members of body and query in one object) against the row: required members,
 * types, limits, and no unknown members. ERROR_USAGE says which. NULL counts as {}. */
int api_check_input(const ApiOperation *operation, const json_t *input, Error *error);

/* Turns the query's text into the field's JSON value and adds it to `object`. ERROR_USAGE for an
 * unknown name or a bad value. */
int api_add_query(const ApiOperation *operation, const char *name, const char *value,
                  json_t *object, Error *error);

/* Of an API_TIME that was checked: microseconds since 1970. */
int api_time(const json_t *value, uint64_t *realtime_usec);

/* The OpenAPI 3.1 description. The caller owns it. */
json_t *api_openapi(void);

#endif
