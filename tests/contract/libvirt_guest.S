// A guest of one sector. Its flags (byte 509): 1 = obeys the power button; 2 = writes a counter to sector 1, so that the
// disk shows whether it runs; 4 = touches 384 KiB of memory at every tick;
// 8 = says at its first tick that it has panicked. 18 ticks a second.

.section .rodata
.globl bascule_guest_begin, bascule_guest_end
#define AT(label) ((label) - bascule_guest_begin + 0x7c00)

bascule_guest_begin:
.code16
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    movl $0, 0x7e00
    movb %dl, AT(drive)
    movw $0x602, %dx            // q35's PM1 enable, where SeaBIOS puts it
    movw $0x100, %ax            // power button
    outw %ax, %dx
tick:
    sti
    hlt
    testb $8, AT(flags)
    jz 4f
    movw $0x505, %dx            // pvpanic's port
    movb $1, %al                // PVPANIC_PANICKED
    outb %al, %dx
4:
    testb $1, AT(flags)
    jz 1f
    movw $0x600, %dx            // PM1 status
    inw %dx, %ax
    testb $1, %ah
    jz 1f
    movw $0x604, %dx            // PM1 control: S5
    movw $0x2000, %ax
    outw %ax, %dx
1:  testb $4, AT(flags)
    jz 3f
    movw $0x2000, %bx
2:  movw %bx, %es
    incl %es:0
    addw $0x100, %bx
    cmpw $0x8000, %bx
    jb 2b
3:  testb $2, AT(flags)
    jz tick
    incl 0x7e00
    movw $AT(packet), %si
    movb AT(drive), %dl
    movb $0x43, %ah
    xorb %al, %al
    int $0x13
    jmp tick
.balign 4
packet:
    .byte 16, 0
    .word 1                     // sectors
    .word 0x7e00, 0             // from 0:7e00
    .quad 1                     // to sector 1
drive:
    .byte 0
    .org bascule_guest_begin + 509
flags:
    .byte 0
    .word 0xaa55
bascule_guest_end:
.section .note.GNU-stack, "", @progbits
