/* SPDX-License-Identifier: Apache-2.0 */
#include "home/memo.h"

#include <string.h>

#include "base/str.h"

bool memo_recall(Memo *memo, const char *question, char answer[MEMO_ANSWER_SIZE]) {
    bool found;
    (void)pthread_mutex_lock(&memo->mutex);
    found = *memo->answer && str_equal(memo->question, question);
    if (found)
        memcpy(answer, memo->answer, MEMO_ANSWER_SIZE);
    (void)pthread_mutex_unlock(&memo->mutex);
    return found;
}

void memo_remember(Memo *memo, const char *question, const char *answer) {
    if (strlen(question) >= MEMO_QUESTION_SIZE || strlen(answer) >= MEMO_ANSWER_SIZE)
        return;
    (void)pthread_mutex_lock(&memo->mutex);
    str_set(memo->question, question);
    str_set(memo->answer, answer);
    (void)pthread_mutex_unlock(&memo->mutex);
}
