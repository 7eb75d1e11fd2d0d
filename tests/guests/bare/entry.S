/* SPDX-License-Identifier: Apache-2.0 */
/* From a 32-bit entry (PVH: xen/include/public/arch-x86/hvm/start_info.h) to C in 64-bit mode, for the first CPU and,
 * by way of a page below 1 MiB, for the others; interrupts; and what C cannot say of registers. */

#define STACK_BYTES 16384
#define TRAMPOLINE 0x8000
#define CODE64 8
#define DATA 16
#define CODE32 24

    .section .note.PVH, "a", @note
    .align 4
    .long 4, 8, 18 /* sizes of name and value; XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad start32

/* ---- the first CPU: tables that map 4 GiB onto themselves, 2 MiB a page ---- */

    .text
    .code32
    .globl start32
start32:
    cli
    cld
    movl $page_directories, %edi
    movl $0x83, %eax /* present, writable, large */
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    cmpl $page_directories + 4 * 4096, %edi
    jne 1b
    movl $page_directories + 3, page_pointers
    movl $page_directories + 0x1000 + 3, page_pointers + 8
    movl $page_directories + 0x2000 + 3, page_pointers + 16
    movl $page_directories + 0x3000 + 3, page_pointers + 24
    movl $page_pointers + 3, page_root

/* ---- each CPU ---- */

enter_long_mode:
    movl %cr4, %eax
    orl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
    movl %eax, %cr4
    movl $page_root, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx /* EFER: LME */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    andl $~0x4, %eax /* EM */
    orl $0x80000022, %eax /* PG, NE, MP */
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $CODE64, $start64

    .code64
start64:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $1, %edi
    lock xaddl %edi, cpus_started
    leal 1(%rdi), %eax
    imull $STACK_BYTES, %eax
    leaq stacks(%rax), %rsp
    call main
1:  cli
    hlt
    jmp 1b

/* ---- another CPU begins here, copied to TRAMPOLINE, in real mode ---- */

    .code16
    .globl trampoline, trampoline_end
trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl TRAMPOLINE + (trampoline_gdt - trampoline)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $CODE32, $start_other
    .align 4
trampoline_gdt:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:

    .code32
start_other:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    jmp enter_long_mode

/* ---- interrupts: exceptions are the end, the timer is counted ---- */

    .code64
    .globl exceptions, on_timer, on_nothing
    .align 16
exceptions: /* 16 bytes each */
    .set vector, 0
    .rept 32
    .align 16
    movl $vector, %edi
    jmp exception
    .set vector, vector + 1
    .endr
exception:
    movq (%rsp), %rsi
    movq 8(%rsp), %rdx
    andq $-16, %rsp
    call die

on_timer:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    cld
    call timer_fired
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
on_nothing:
    iretq

/* ---- registers ---- */

/* unsigned watch_registers(unsigned halt): fills all general registers but the stack's, waits for an interrupt
 * (halt) or a moment, and says how many are not as they were. */
    .globl watch_registers
watch_registers:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    .set number, 0
    .irp name, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    movq patterns + 8 * number, %\name
    .set number, number + 1
    .endr
    cmpl $0, (%rsp)
    je 1f
    sti
    hlt
    cli
    jmp 2f
1:  pause
2:  movl $0, (%rsp)
    .set number, 0
    .irp name, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    cmpq patterns + 8 * number, %\name
    je 3f
    incl (%rsp)
3:
    .set number, number + 1
    .endr
    popq %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

/* void load_fpu(const uint8_t picture[512]); FXRSTOR, since an emulator knows that but not each instruction of the x87 */
    .globl load_fpu
load_fpu:
    fxrstor (%rdi)
    ret

/* void save_fpu(uint8_t picture[512]) */
    .globl save_fpu
save_fpu:
    fxsave (%rdi)
    ret

/* ---- data ---- */

    .section .rodata
    .align 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* CODE64 */
    .quad 0x00cf93000000ffff /* DATA */
    .quad 0x00cf9b000000ffff /* CODE32 */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .align 8
patterns:
    .set number, 1
    .rept 15
    .quad 0x0123456789abcdef * number
    .set number, number + 1
    .endr

    .bss
    .align 4096
page_root:
    .skip 4096
page_pointers:
    .skip 4096
page_directories:
    .skip 4 * 4096
stacks:
    .skip 4 * STACK_BYTES
    .globl cpus_started
cpus_started:
    .long 0

    .section .note.GNU-stack, "", @progbits
