/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_API_ANSWER_H
#define RAMET_KEEPER_API_ANSWER_H

/* The answer to a client that speaks plain HTTP: what a guest's command or file gives goes in, the
 * bytes of an HTTP response (RFC 9112) come out. No I/O, and bounded: at most one piece of a
 * stream waits in `wire`, and of a document's texts the last ANSWER_KEPT_MAX bytes are kept.
 *
 * The head is written with the first thing that is known, so what fails before that has a fitting
 * HTTP status. A body that ends without its last chunk was cut. */

#include "base/json.h"
#include "keeper/api/fifo.h"

#define ANSWER_KEPT_MAX (1024u * 1024u)    /* of each output in a JSON document */
#define ANSWER_DETACHED_MAX (256u * 1024u) /* and of a detached command's */
#define ANSWER_PIECE_MAX (16u * 1024u)     /* data for one answer_data */
#define ANSWER_STAT_MAX (16u * 1024u)      /* what STAT may say */

typedef enum AnswerForm {
    ANSWER_NONE,     /* no HTTP: the client has frames */
    ANSWER_DOCUMENT, /* of a command: one JSON object at its end */
    ANSWER_LINES,    /* of a command: one JSON object a line, as it comes */
    ANSWER_FILE,     /* READ: a byte that tells what it is, then content or tar */
    ANSWER_STAT,     /* STAT: fields, shown as a JSON object */
    ANSWER_DONE,     /* a copy in: {} at its end */
} AnswerForm;

/* How bytes become JSON. */
typedef enum AnswerText {
    ANSWER_AUTO,   /* a string when they are UTF-8, else {"base64"} */
    ANSWER_TEXT,   /* a string always; what is no UTF-8 becomes U+FFFD */
    ANSWER_BASE64, /* {"base64"} always */
} AnswerText;

/* The last bytes of an output. */
typedef struct Kept {
    Fifo bytes;
    uint64_t dropped_bytes; /* that came before them */
} Kept;

typedef struct Answer {
    AnswerForm form;
    AnswerText text;
    bool chunked;      /* else the connection's end ends the body (HTTP/1.0) */
    size_t keep_bytes; /* of each output; 0: ANSWER_KEPT_MAX */
    Kept kept[2];      /* stdout and stderr of a document; [0]: of STAT */
    Fifo half[2];      /* lines: the first bytes of a character whose others have not come */
    Fifo wire;         /* to be sent */
    bool begun;        /* the head is on the wire */
    bool ended;        /* nothing more will come */
} Answer;

void answer_free(Answer *answer);

/* What a command printed, or the data of a file; size is at most ANSWER_PIECE_MAX. 0, -ENOMEM, or
 * -EBADMSG when a guest's data is not what was asked for. */
int answer_data(Answer *answer, bool is_error_output, const uint8_t *data, size_t size);

/* The end: of a command, of a copy, or by an error. A document gets `more` merged in (may be
 * NULL). */
void answer_exit(Answer *answer, int status, bool timed_out, const json_t *more);
void answer_done(Answer *answer);
void answer_error(Answer *answer, const Error *error);

/* The document of a command: its outputs and how it ended (status < 0: it has not). */
json_t *answer_document(const Answer *answer, AnswerText text, int status, bool timed_out);

/* A whole response with a document, for what needs no guest. */
void answer_send_json(Answer *answer, int http_status, const json_t *document);

#endif
