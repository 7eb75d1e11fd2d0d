/* SPDX-License-Identifier: Apache-2.0 */

/* What a hostile guest prints, puts into a file or says of one, as a client of plain HTTP gets it:
 * the first byte picks form and kind of text, the others are data in pieces, each with one byte for
 * its output and length before it. The response must be whole and no longer than its bounds. */

#include <stdlib.h>

#include "keeper/api/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_wire(const Answer *answer) {
    size_t wire = fifo_size(&answer->wire);
    if (!answer->ended || (answer->begun && wire == 0) || wire > 64u * 1024u * 1024u)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const AnswerForm forms[] = {ANSWER_DOCUMENT, ANSWER_LINES, ANSWER_FILE, ANSWER_STAT};
    Answer answer = {0};
    bool is_command;
    int r = 0;
    if (size == 0)
        return 0;
    answer.form = forms[data[0] % 4];
    answer.text = (AnswerText)(data[0] / 4 % 3);
    answer.chunked = data[0] & 0x40;
    answer.keep_bytes = data[0] & 0x80 ? 7 : 0;
    is_command = answer.form == ANSWER_DOCUMENT || answer.form == ANSWER_LINES;
    data++;
    size--;
    while (r == 0 && size > 0) {
        size_t length = data[0] / 2u < size - 1 ? data[0] / 2u : size - 1;
        r = answer_data(&answer, is_command && data[0] % 2, data + 1, length);
        data += 1 + length;
        size -= 1 + length;
    }
    if (r < 0)
        answer_error(&answer, &(Error){.kind = ERROR_CORRUPT});
    else if (is_command)
        answer_exit(&answer, 0, false, NULL);
    else
        answer_done(&answer);
    check_wire(&answer);
    answer_free(&answer);
    return 0;
}
