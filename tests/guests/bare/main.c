/* SPDX-License-Identifier: Apache-2.0 */
#include "bare.h"

void __attribute__((noreturn)) main(unsigned number);

void main(unsigned number) {
    cpu_begin(number);
    if (number > 0)
        for (;;)
            cpu_wait(number, 1);
    cpu_start_others();
    say_number("bare: CPUs: ", cpus_started, "\n");
    virtio_begin();
    say("bare: the agent's port is open\n");
    agent_run();
}
