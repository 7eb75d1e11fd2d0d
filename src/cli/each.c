/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"

#include "cli/client.h"
#include "cli/output.h"

int each_post(int api_id, const char *vm, json_t *body, json_t **answer, Error *error) {
    _cleanup_json_ json_t *owned = body;
    return client_call((ApiId)api_id, vm, NULL, owned, answer, error);
}

/* Keeps the first error; tells the later ones here, since main tells only one. */
static void keep_error(Error *first, Error *found, bool told_by_main) {
    if (told_by_main)
        error_move(first, found);
    else
        output_error(found);
}

static int print_answers(const Args *args, const json_t *answers, const Error *failed,
                         Error *error) {
    _cleanup_json_ json_t *document = NULL;
    if (failed->kind != ERROR_NONE) {
        document = json_from_error(failed);
        json_object_set(document, "results", (json_t *)answers);
        return output_json(document, error);
    }
    return output_json(args->n_operands == 1 ? json_array_get(answers, 0) : answers, error);
}

/* An operation that answers nothing is told by whom it was done to. */
static json_t *name_answer(json_t *answer, const char *operand) {
    return json_object_size(answer) > 0 || json_is_array(answer)
               ? json_incref(answer)
               : json_pack("{s:s}", "name", operand);
}

int each_operand(const Args *args, EachHandler handler, bool quiet, Error *error) {
    _cleanup_json_ json_t *answers = json_array();
    _cleanup_error_ Error first = ERROR_INIT;
    int r = 0;
    for (size_t i = 0; i < args->n_operands; i++) {
        _cleanup_json_ json_t *answer = NULL;
        _cleanup_error_ Error found = ERROR_INIT;
        if (handler(args, args->operands[i], &answer, &found) < 0) {
            keep_error(&first, &found, first.kind == ERROR_NONE);
            continue;
        }
        json_array_append_new(answers, name_answer(answer, args->operands[i]));
        if (!args->json && !quiet)
            r = output_line(args->operands[i], error);
    }
    if (!args->json || args->n_operands == 1)
        return first.kind != ERROR_NONE ? error_move(error, &first)
               : args->json             ? print_answers(args, answers, &first, error)
                                        : r;
    r = print_answers(args, answers, &first, error);
    if (first.kind != ERROR_NONE)
        output_error(&first);
    return r < 0 ? r : error_kind_exit_status(first.kind);
}
