// A boot sector that proves an accelerator: real mode -> protected mode -> paging and 64-bit mode, then a value that
// only arrives if each step worked goes to QEMU's isa-debug-exit port, so that QEMU ends with status (0x2a << 1) | 1.
// The firmware loads it at 0x7c00; labels are turned into addresses there by hand because it is data of this program.

.section .rodata
.globl bascule_probe_begin, bascule_probe_end
#define AT(label) ((label) - bascule_probe_begin + 0x7c00)

.balign 16
bascule_probe_begin:
.code16
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    // Page tables at 0x1000..0x3fff: one 2 MiB page, one to one.
    movw $0x1000, %di
    movw $0x1800, %cx
    cld
    rep stosw
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x0083, 0x3000
    lgdtl AT(gdt_pointer)
    movl %cr4, %eax
    orl $0x20, %eax             // PAE
    movl %eax, %cr4
    movl $0x1000, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      // EFER
    rdmsr
    orl $0x100, %eax            // LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax       // PG, PE
    movl %eax, %cr0
    .byte 0x66, 0xea            // ljmpl $8, long_mode
    .long AT(long_mode)
    .word 8
.code64
long_mode:
    movabsq $0x123456789abcdef0, %rax
    movq $0x10, %rbx
    mulq %rbx                   // rdx = 1, rax = 0x23456789abcdef00
    addq %rdx, %rax
    movabsq $0x23456789abcdef01, %rcx
    movl $0x15, %esi
    subq %rcx, %rax
    jnz leave
    movl $0x2a, %esi
leave:
    movl %esi, %eax
    movw $0xf4, %dx
    outb %al, %dx
stay:
    hlt
    jmp stay
.balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff    // 64-bit code
    .quad 0x00cf92000000ffff    // data
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long AT(gdt)
    .org bascule_probe_begin + 510
    .word 0xaa55
bascule_probe_end:
.section .note.GNU-stack, "", @progbits
