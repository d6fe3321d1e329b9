#include "go_asm.h"
#include "textflag.h"

// Everything here runs on any thread, of Go or of C: no Go stack, no pointers that Go must know of. A vector
// is 8 float32 of neighbouring channels.
//
// R15 is the job, R14 the worker's scratch: 36 vectors, two tables of addresses, a few numbers, a pixel for
// what lies outside of the map, then V and M.

#define TABLE  1152
#define ADDEND 1440
#define FROM   1568(R14)
#define UNTIL  1576(R14)
#define FIRST  1584(R14)
#define COUNT  1592(R14)
#define AT     1600(R14)
#define NOWHERE 1664

DATA one<>+0(SB)/4, $4.0
DATA one<>+4(SB)/4, $5.0
DATA one<>+8(SB)/4, $2.0
DATA one<>+12(SB)/4, $8.0
DATA one<>+16(SB)/4, $0.25
DATA one<>+20(SB)/4, $-0.16666666666666666
DATA one<>+24(SB)/4, $0.16666666666666666
DATA one<>+28(SB)/4, $0.08333333333333333
DATA one<>+32(SB)/4, $0.041666666666666664
GLOBL one<>(SB), RODATA|NOPTR, $36

// func entry() uintptr
TEXT ·entry(SB), NOSPLIT, $0-8
	LEAQ work<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func run(j *job)
TEXT ·run(SB), NOSPLIT, $8-8
	MOVQ j+0(FP), DI
	CALL work<>(SB)
	RET

// work is a C function of a job: it does tasks of the job until there are none.
TEXT work<>(SB), NOSPLIT|NOFRAME, $0
	PUSHQ BX
	PUSHQ R12
	PUSHQ R13
	PUSHQ R14
	PUSHQ R15
	MOVQ  DI, R15
	MOVQ  $1, R14
	LOCK
	XADDQ R14, job_workers(R15)
	IMULQ job_stride(R15), R14
	ADDQ  job_scratch(R15), R14

next:
	MOVQ  $1, AX
	LOCK
	XADDQ AX, job_next(R15)
	CMPQ  AX, job_tasks(R15)
	JGE   done
	MOVQ  job_kind(R15), CX
	CMPQ  CX, $const_convolve
	JEQ   convolve
	CMPQ  CX, $const_spread
	JEQ   spread
	CMPQ  CX, $const_gather
	JEQ   gather
	CMPQ  CX, $const_weights
	JEQ   weights
	CALL  shrink<>(SB)
	JMP   next

convolve:
	CALL convolve<>(SB)
	JMP  next

spread:
	CALL spread<>(SB)
	JMP  next

gather:
	CALL gather<>(SB)
	JMP  next

weights:
	CALL weights<>(SB)
	JMP  next

done:
	VZEROUPPER
	POPQ R15
	POPQ R14
	POPQ R13
	POPQ R12
	POPQ BX
	RET

// addresses fills the table with those of the pixels of a square of a tile: AX is the tile, BX the map of the
// first image, R10 the side, 4 or 6, R12 what stands for pixels outside, R13 the bytes of a pixel.
TEXT addresses<>(SB), NOSPLIT|NOFRAME, $0
	LEAQ  TABLE(R14), R11
	XORL  DX, DX
	DIVQ  job_perImage(R15)       // AX image, DX tile in it
	MOVQ  AX, CX
	MOVQ  DX, AX
	XORL  DX, DX
	DIVQ  job_across(R15)         // AX row, DX column
	SHLQ  $2, AX
	SHLQ  $2, DX
	CMPQ  R10, $6
	JNE   corner
	DECQ  AX
	DECQ  DX

corner:
	MOVQ  AX, R8                  // y
	MOVQ  DX, R9                  // x
	IMULQ job_h(R15), CX
	ADDQ  R8, CX
	IMULQ job_w(R15), CX
	ADDQ  R9, CX
	IMULQ R13, CX
	ADDQ  CX, BX                  // the first pixel, be there one or not
	MOVQ  job_w(R15), SI
	IMULQ R13, SI                 // bytes of a row
	MOVQ  R10, CX

row:
	MOVQ BX, DI
	MOVQ R9, DX
	MOVQ R10, AX

column:
	CMPQ R8, job_h(R15)
	JCC  outside                  // also where it is negative
	CMPQ DX, job_w(R15)
	JCC  outside
	MOVQ DI, (R11)
	JMP  set

outside:
	MOVQ R12, (R11)

set:
	ADDQ $8, R11
	ADDQ R13, DI
	INCQ DX
	DECQ AX
	JNZ  column
	ADDQ SI, BX
	INCQ R8
	DECQ CX
	JNZ  row
	RET

// The transforms of one dimension, of Lavin & Gray 2016 for F(4×4, 3×3). FORWARD takes Y0…Y5 to Y6, Y7, Y8,
// Y12, Y10, Y11; Y15, Y14 and Y13 are 4, 5 and 2.
#define FORWARD \
	VMOVAPS      Y4, Y6        \
	VFNMADD231PS Y2, Y14, Y6   \
	VFMADD231PS  Y0, Y15, Y6   \
	VMOVAPS      Y4, Y12       \
	VFNMADD231PS Y2, Y15, Y12  \
	VMOVAPS      Y3, Y7        \
	VFNMADD231PS Y1, Y15, Y7   \
	VSUBPS       Y7, Y12, Y8   \
	VADDPS       Y7, Y12, Y7   \
	VSUBPS       Y2, Y4, Y12   \
	VSUBPS       Y1, Y3, Y9    \
	VMOVAPS      Y12, Y10      \
	VFNMADD231PS Y9, Y13, Y10  \
	VFMADD231PS  Y9, Y13, Y12  \
	VMOVAPS      Y5, Y11       \
	VFNMADD231PS Y3, Y14, Y11  \
	VFMADD231PS  Y1, Y15, Y11

// INVERSE takes Y0…Y5 to Y0, Y1, Y6, Y7; Y15, Y13 and Y12 are 4, 2 and 8.
#define INVERSE \
	VADDPS      Y2, Y1, Y6   \
	VSUBPS      Y2, Y1, Y7   \
	VADDPS      Y4, Y3, Y8   \
	VSUBPS      Y4, Y3, Y9   \
	VADDPS      Y6, Y0, Y0   \
	VADDPS      Y8, Y0, Y0   \
	VMOVAPS     Y7, Y1       \
	VFMADD231PS Y9, Y13, Y1  \
	VFMADD231PS Y8, Y15, Y6  \
	VADDPS      Y5, Y7, Y7   \
	VFMADD231PS Y9, Y12, Y7

// INVERSET, the transpose of INVERSE, takes Y0…Y3 to Y0, Y6, Y7, Y8, Y9, Y3; constants as there.
#define INVERSET \
	VADDPS       Y2, Y0, Y4    \
	VADDPS       Y3, Y1, Y5    \
	VADDPS       Y5, Y4, Y6    \
	VSUBPS       Y5, Y4, Y7    \
	VMOVAPS      Y0, Y4        \
	VFMADD231PS  Y2, Y15, Y4   \
	VMULPS       Y1, Y13, Y5   \
	VFMADD231PS  Y3, Y12, Y5   \
	VADDPS       Y5, Y4, Y8    \
	VSUBPS       Y5, Y4, Y9

#define POINT(i, j, y) \
	MOVQ    (TABLE+8*(i))(R14), AX \
	VMOVUPS (AX)(CX*1), y

#define COLUMN6(j) \
	POINT(j, j, Y0)      \
	POINT(j+6, j, Y1)    \
	POINT(j+12, j, Y2)   \
	POINT(j+18, j, Y3)   \
	POINT(j+24, j, Y4)   \
	POINT(j+30, j, Y5)   \
	FORWARD              \
	VMOVUPS Y6, (32*(j))(R14)       \
	VMOVUPS Y7, (32*(j+6))(R14)     \
	VMOVUPS Y8, (32*(j+12))(R14)    \
	VMOVUPS Y12, (32*(j+18))(R14)   \
	VMOVUPS Y10, (32*(j+24))(R14)   \
	VMOVUPS Y11, (32*(j+30))(R14)

#define LOADROW6(i) \
	VMOVUPS (32*(6*(i)))(R14), Y0   \
	VMOVUPS (32*(6*(i)+1))(R14), Y1 \
	VMOVUPS (32*(6*(i)+2))(R14), Y2 \
	VMOVUPS (32*(6*(i)+3))(R14), Y3 \
	VMOVUPS (32*(6*(i)+4))(R14), Y4 \
	VMOVUPS (32*(6*(i)+5))(R14), Y5

#define PUT(y) \
	VMOVUPS y, (DI) \
	ADDQ    R10, DI

#define ROW6(i) \
	LOADROW6(i) \
	FORWARD     \
	PUT(Y6)     \
	PUT(Y7)     \
	PUT(Y8)     \
	PUT(Y12)    \
	PUT(Y10)    \
	PUT(Y11)

#define CONSTANTS(four, five, two) \
	VBROADCASTSS one<>+0(SB), four \
	VBROADCASTSS one<>+4(SB), five \
	VBROADCASTSS one<>+8(SB), two

// input transforms the tile whose 36 addresses are in the table: R9 is where its first plane goes, R10 the
// bytes from plane to plane.
TEXT input<>(SB), NOSPLIT|NOFRAME, $0
	CONSTANTS(Y15, Y14, Y13)
	XORL CX, CX

channels:
	COLUMN6(0)
	COLUMN6(1)
	COLUMN6(2)
	COLUMN6(3)
	COLUMN6(4)
	COLUMN6(5)
	LEAQ (R9)(CX*1), DI
	ROW6(0)
	ROW6(1)
	ROW6(2)
	ROW6(3)
	ROW6(4)
	ROW6(5)
	ADDQ $32, CX
	CMPQ CX, job_inBytes(R15)
	JLT  channels
	RET

#define COLUMN4(j) \
	POINT(j, j, Y0)     \
	POINT(j+4, j, Y1)   \
	POINT(j+8, j, Y2)   \
	POINT(j+12, j, Y3)  \
	INVERSET            \
	VMOVUPS Y0, (32*(j))(R14)     \
	VMOVUPS Y6, (32*(j+4))(R14)   \
	VMOVUPS Y7, (32*(j+8))(R14)   \
	VMOVUPS Y8, (32*(j+12))(R14)  \
	VMOVUPS Y9, (32*(j+16))(R14)  \
	VMOVUPS Y3, (32*(j+20))(R14)

#define ROW4(i) \
	VMOVUPS (32*(4*(i)))(R14), Y0   \
	VMOVUPS (32*(4*(i)+1))(R14), Y1 \
	VMOVUPS (32*(4*(i)+2))(R14), Y2 \
	VMOVUPS (32*(4*(i)+3))(R14), Y3 \
	INVERSET \
	PUT(Y0)  \
	PUT(Y6)  \
	PUT(Y7)  \
	PUT(Y8)  \
	PUT(Y9)  \
	PUT(Y3)

// gradient transforms the gradient of the outputs of the tile whose 16 addresses are in the table; as input.
TEXT gradient<>(SB), NOSPLIT|NOFRAME, $0
	CONSTANTS(Y15, Y14, Y13)
	VBROADCASTSS one<>+12(SB), Y12
	XORL CX, CX

channels:
	COLUMN4(0)
	COLUMN4(1)
	COLUMN4(2)
	COLUMN4(3)
	LEAQ (R9)(CX*1), DI
	ROW4(0)
	ROW4(1)
	ROW4(2)
	ROW4(3)
	ROW4(4)
	ROW4(5)
	ADDQ $32, CX
	CMPQ CX, job_outBytes(R15)
	JLT  channels
	RET

// M's planes come row by row, so the second dimension is first here, which makes no difference.
#define PLANE(y) \
	VMOVUPS (SI), y \
	ADDQ    R10, SI

#define PLANES \
	PLANE(Y0) \
	PLANE(Y1) \
	PLANE(Y2) \
	PLANE(Y3) \
	PLANE(Y4) \
	PLANE(Y5)

#define OUTROW(i) \
	PLANES  \
	INVERSE \
	VMOVUPS Y0, (32*(i))(R14)      \
	VMOVUPS Y1, (32*(i+6))(R14)    \
	VMOVUPS Y6, (32*(i+12))(R14)   \
	VMOVUPS Y7, (32*(i+18))(R14)

#define PIXEL(n, y) \
	VADDPS  Y10, y, y               \
	TESTQ   R13, R13                \
	JEQ     3(PC)                   \
	MOVQ    (ADDEND+8*(n))(R14), AX \
	VADDPS  (AX)(CX*1), y, y        \
	VMAXPS  y, Y14, y               \
	MOVQ    (TABLE+8*(n))(R14), AX  \
	VMOVUPS y, (AX)(CX*1)

#define OUTCOLUMN(j) \
	LOADROW6(j)    \
	INVERSE        \
	PIXEL(j, Y0)   \
	PIXEL(j+4, Y1) \
	PIXEL(j+8, Y6) \
	PIXEL(j+12, Y7)

// output transforms M of the tile whose 16 addresses are in the table: R9 is its first plane, R10 the bytes
// from plane to plane, CX the first channel's bytes, DX where they end. R13 is 0 where there is no addend.
TEXT output<>(SB), NOSPLIT|NOFRAME, $0
	CONSTANTS(Y15, Y14, Y13)
	VBROADCASTSS one<>+12(SB), Y12
	VBROADCASTSS job_floor(R15), Y14
	MOVQ         job_bias(R15), BX

channels:
	LEAQ    (R9)(CX*1), SI
	OUTROW(0)
	OUTROW(1)
	OUTROW(2)
	OUTROW(3)
	OUTROW(4)
	OUTROW(5)
	VMOVUPS (BX)(CX*1), Y10
	OUTCOLUMN(0)
	OUTCOLUMN(1)
	OUTCOLUMN(2)
	OUTCOLUMN(3)
	ADDQ    $32, CX
	CMPQ    CX, DX
	JLT     channels
	RET

#define STEP(u) \
	VMOVUPS      (64*(u))(R11), Y12       \
	VMOVUPS      (64*(u)+32)(R11), Y13    \
	VBROADCASTSS (4*(u))(DX), Y14         \
	VBROADCASTSS (4*(u))(DX)(R8*1), Y15   \
	VFMADD231PS  Y12, Y14, Y0             \
	VFMADD231PS  Y13, Y14, Y1             \
	VFMADD231PS  Y12, Y15, Y2             \
	VFMADD231PS  Y13, Y15, Y3             \
	VBROADCASTSS (4*(u))(DX)(R8*2), Y14   \
	VBROADCASTSS (4*(u))(AX), Y15         \
	VFMADD231PS  Y12, Y14, Y4             \
	VFMADD231PS  Y13, Y14, Y5             \
	VFMADD231PS  Y12, Y15, Y6             \
	VFMADD231PS  Y13, Y15, Y7             \
	VBROADCASTSS (4*(u))(AX)(R8*1), Y14   \
	VBROADCASTSS (4*(u))(AX)(R8*2), Y15   \
	VFMADD231PS  Y12, Y14, Y8             \
	VFMADD231PS  Y13, Y14, Y9             \
	VFMADD231PS  Y12, Y15, Y10            \
	VFMADD231PS  Y13, Y15, Y11

#define STORE(a, b) \
	VMOVUPS a, (DX)   \
	VMOVUPS b, 32(DX) \
	ADDQ    R10, DX

// convolve computes a share of the outputs of a chunk of tiles: V, M = U·V for each of 36 planes, and Y.
TEXT convolve<>(SB), NOSPLIT|NOFRAME, $0
	XORL    DX, DX
	DIVQ    job_splits(R15)
	IMULQ   job_share(R15), DX
	MOVQ    DX, FROM
	ADDQ    job_share(R15), DX
	CMPQ    DX, job_panels(R15)
	CMOVQGT job_panels(R15), DX
	MOVQ    DX, UNTIL
	IMULQ   job_chunk(R15), AX
	MOVQ    AX, FIRST
	MOVQ    job_tiles(R15), CX
	SUBQ    AX, CX
	CMPQ    CX, job_chunk(R15)
	CMOVQGT job_chunk(R15), CX
	MOVQ    CX, COUNT
	MOVQ    $0, AT

in:
	MOVQ  AT, AX
	ADDQ  FIRST, AX
	MOVQ  job_x(R15), BX
	MOVQ  $6, R10
	MOVQ  job_zeros(R15), R12
	MOVQ  job_inBytes(R15), R13
	CALL  addresses<>(SB)
	MOVQ  AT, R9
	IMULQ job_rowV(R15), R9
	ADDQ  R14, R9
	ADDQ  job_v(R15), R9
	MOVQ  job_planeV(R15), R10
	CALL  input<>(SB)
	INCQ  AT
	MOVQ  AT, AX
	CMPQ  AX, COUNT
	JLT   in

	MOVQ $0, AT
	MOVQ job_rowV(R15), R8
	MOVQ job_rowM(R15), R10

plane:
	MOVQ FROM, R13

panel:
	MOVQ  AT, BX
	IMULQ job_panels(R15), BX
	ADDQ  R13, BX
	IMULQ job_inBytes(R15), BX
	SHLQ  $4, BX
	ADDQ  job_u(R15), BX
	MOVQ  AT, SI
	IMULQ job_planeV(R15), SI
	ADDQ  R14, SI
	ADDQ  job_v(R15), SI
	MOVQ  AT, R9
	IMULQ job_planeM(R15), R9
	ADDQ  R14, R9
	ADDQ  job_m(R15), R9
	MOVQ  R13, DI
	SHLQ  $6, DI
	ADDQ  R9, DI
	MOVQ  COUNT, R12

block:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	MOVQ   BX, R11
	MOVQ   SI, DX
	LEAQ   (SI)(R8*2), AX
	ADDQ   R8, AX
	MOVQ   job_inBytes(R15), CX

sum:
	STEP(0)
	STEP(1)
	STEP(2)
	STEP(3)
	ADDQ $256, R11
	ADDQ $16, DX
	ADDQ $16, AX
	SUBQ $16, CX
	JNZ  sum

	MOVQ DI, DX
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	MOVQ DX, DI
	LEAQ (SI)(R8*4), SI
	LEAQ (SI)(R8*2), SI
	SUBQ $6, R12
	JGT  block

	INCQ R13
	CMPQ R13, UNTIL
	JLT  panel
	INCQ AT
	CMPQ AT, $36
	JLT  plane

	MOVQ $0, AT

out:
	MOVQ  job_add(R15), BX
	TESTQ BX, BX
	JEQ   alone
	MOVQ  AT, AX
	ADDQ  FIRST, AX
	MOVQ  $4, R10
	LEAQ  NOWHERE(R14), R12
	MOVQ  job_outBytes(R15), R13
	CALL  addresses<>(SB)
	MOVQ  $15, CX

addend:
	MOVQ TABLE(R14)(CX*8), AX
	MOVQ AX, ADDEND(R14)(CX*8)
	DECQ CX
	JGE  addend

alone:
	MOVQ    AT, AX
	ADDQ    FIRST, AX
	MOVQ    job_y(R15), BX
	MOVQ    $4, R10
	LEAQ    NOWHERE(R14), R12
	MOVQ    job_outBytes(R15), R13
	CALL    addresses<>(SB)
	MOVQ    AT, R9
	IMULQ   job_rowM(R15), R9
	ADDQ    R14, R9
	ADDQ    job_m(R15), R9
	MOVQ    job_planeM(R15), R10
	MOVQ    job_add(R15), R13
	MOVQ    FROM, CX
	SHLQ    $6, CX
	MOVQ    UNTIL, DX
	SHLQ    $6, DX
	CMPQ    DX, job_outBytes(R15)
	CMOVQGT job_outBytes(R15), DX
	CALL    output<>(SB)
	INCQ    AT
	MOVQ    AT, AX
	CMPQ    AX, COUNT
	JLT     out
	RET

// spread fills V with the inputs' transform and M with that of the outputs' gradient, for the tiles of a task.
TEXT spread<>(SB), NOSPLIT|NOFRAME, $0
	IMULQ   job_chunk(R15), AX
	MOVQ    AX, AT
	ADDQ    job_chunk(R15), AX
	CMPQ    AX, job_tiles(R15)
	CMOVQGT job_tiles(R15), AX
	MOVQ    AX, UNTIL

tile:
	MOVQ  AT, AX
	ADDQ  job_first(R15), AX
	MOVQ  job_x(R15), BX
	MOVQ  $6, R10
	MOVQ  job_zeros(R15), R12
	MOVQ  job_inBytes(R15), R13
	CALL  addresses<>(SB)
	MOVQ  AT, R9
	IMULQ job_rowV(R15), R9
	ADDQ  job_v(R15), R9
	MOVQ  job_planeV(R15), R10
	CALL  input<>(SB)
	MOVQ  AT, AX
	ADDQ  job_first(R15), AX
	MOVQ  job_y(R15), BX
	MOVQ  $4, R10
	MOVQ  job_zeros(R15), R12
	MOVQ  job_outBytes(R15), R13
	CALL  addresses<>(SB)
	MOVQ  AT, R9
	IMULQ job_rowM(R15), R9
	ADDQ  job_m(R15), R9
	MOVQ  job_planeM(R15), R10
	CALL  gradient<>(SB)
	INCQ  AT
	MOVQ  AT, AX
	CMPQ  AX, UNTIL
	JLT   tile
	RET

#define GATHER(i, a, b) \
	VBROADCASTSS (4*(i))(R11), Y14  \
	VFMADD231PS  Y12, Y14, a        \
	VFMADD231PS  Y13, Y14, b

#define GATHER4 \
	VMOVUPS (DX), Y12     \
	VMOVUPS 32(DX), Y13   \
	GATHER(0, Y0, Y1)     \
	GATHER(1, Y2, Y3)     \
	GATHER(2, Y4, Y5)     \
	GATHER(3, Y6, Y7)

// GROW adds a row to U, or sets it in the first part, where AX is 0.
#define GROW(a, b) \
	TESTQ   AX, AX       \
	JEQ     3(PC)        \
	VADDPS  (DI), a, a   \
	VADDPS  32(DI), b, b \
	VMOVUPS a, (DI)      \
	VMOVUPS b, 32(DI)    \
	ADDQ    R9, DI

// gather adds, for a plane and a panel of 16 output channels, the products of V and M over all tiles to U: for six
// input channels at a time, and for four where six would leave two.
TEXT gather<>(SB), NOSPLIT|NOFRAME, $0
	XORL  DX, DX
	DIVQ  job_panels(R15)        // AX plane, DX panel
	MOVQ  AX, SI
	IMULQ job_planeV(R15), SI
	ADDQ  job_v(R15), SI
	MOVQ  AX, BX
	IMULQ job_planeM(R15), BX
	ADDQ  job_m(R15), BX
	SHLQ  $6, DX
	ADDQ  DX, BX
	MOVQ  job_panels(R15), R9
	SHLQ  $6, R9                 // bytes of a row of U
	MOVQ  AX, DI
	IMULQ job_inBytes(R15), DI
	SHRQ  $2, DI
	IMULQ R9, DI
	ADDQ  DX, DI
	ADDQ  job_u(R15), DI
	MOVQ  job_rowV(R15), R8
	MOVQ  job_rowM(R15), R10
	MOVQ  job_first(R15), AX
	MOVQ  job_inBytes(R15), R13

channels:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	MOVQ   SI, R11
	MOVQ   BX, DX
	MOVQ   job_tiles(R15), CX
	CMPQ   R13, $24
	JEQ    six
	CMPQ   R13, $40
	JLT    four                  // 4 or 8 channels are left

six:
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11

sum6:
	GATHER4
	GATHER(4, Y8, Y9)
	GATHER(5, Y10, Y11)
	ADDQ R8, R11
	ADDQ R10, DX
	DECQ CX
	JNZ  sum6
	GROW(Y0, Y1)
	GROW(Y2, Y3)
	GROW(Y4, Y5)
	GROW(Y6, Y7)
	GROW(Y8, Y9)
	GROW(Y10, Y11)
	ADDQ $24, SI
	SUBQ $24, R13
	JNZ  channels
	RET

four:
	GATHER4
	ADDQ R8, R11
	ADDQ R10, DX
	DECQ CX
	JNZ  four
	GROW(Y0, Y1)
	GROW(Y2, Y3)
	GROW(Y4, Y5)
	GROW(Y6, Y7)
	ADDQ $16, SI
	SUBQ $16, R13
	JNZ  channels
	RET

#define FRACTIONS \
	VBROADCASTSS one<>+16(SB), Y15 \
	VBROADCASTSS one<>+20(SB), Y14 \
	VBROADCASTSS one<>+24(SB), Y13 \
	VBROADCASTSS one<>+28(SB), Y12 \
	VBROADCASTSS one<>+32(SB), Y11

// WIDEN takes Y0…Y2 to Y3, Y5, Y6, Y9, Y10, Y2.
#define WIDEN \
	VMULPS      Y0, Y15, Y3  \
	VADDPS      Y2, Y0, Y4   \
	VADDPS      Y1, Y4, Y5   \
	VSUBPS      Y1, Y4, Y6   \
	VMULPS      Y14, Y5, Y5  \
	VMULPS      Y14, Y6, Y6  \
	VMULPS      Y2, Y13, Y7  \
	VFMADD231PS Y0, Y11, Y7  \
	VMULPS      Y1, Y12, Y8  \
	VADDPS      Y8, Y7, Y9   \
	VSUBPS      Y8, Y7, Y10

#define WIDENED(j) \
	WIDEN \
	VMOVUPS Y3, (32*(j))(R14)     \
	VMOVUPS Y5, (32*(j+3))(R14)   \
	VMOVUPS Y6, (32*(j+6))(R14)   \
	VMOVUPS Y9, (32*(j+9))(R14)   \
	VMOVUPS Y10, (32*(j+12))(R14) \
	VMOVUPS Y2, (32*(j+15))(R14)

#define UROW(i) \
	VMOVUPS (32*(3*(i)))(R14), Y0   \
	VMOVUPS (32*(3*(i)+1))(R14), Y1 \
	VMOVUPS (32*(3*(i)+2))(R14), Y2 \
	WIDEN    \
	PUT(Y3)  \
	PUT(Y5)  \
	PUT(Y6)  \
	PUT(Y9)  \
	PUT(Y10) \
	PUT(Y2)

// weights transforms those of an input channel, of which there are nine rows of output channels, to U, which has
// panels of 16 output channels.
TEXT weights<>(SB), NOSPLIT|NOFRAME, $0
	FRACTIONS
	MOVQ  AX, R12
	SHLQ  $6, R12
	ADDQ  job_u(R15), R12
	IMULQ job_outBytes(R15), AX
	ADDQ  job_x(R15), AX
	MOVQ  AX, R13
	MOVQ  job_tap(R15), R8
	MOVQ  job_inBytes(R15), R10
	SHLQ  $4, R10
	MOVQ  R10, R9                // bytes of a panel
	IMULQ job_panels(R15), R10   // of a plane
	XORL  CX, CX

channels:
	LEAQ    (R13)(CX*1), SI
	LEAQ    (SI)(R8*2), DX
	ADDQ    R8, DX
	LEAQ    (DX)(R8*2), BX
	ADDQ    R8, BX
	VMOVUPS (SI), Y0
	VMOVUPS (DX), Y1
	VMOVUPS (BX), Y2
	WIDENED(0)
	VMOVUPS (SI)(R8*1), Y0
	VMOVUPS (DX)(R8*1), Y1
	VMOVUPS (BX)(R8*1), Y2
	WIDENED(1)
	VMOVUPS (SI)(R8*2), Y0
	VMOVUPS (DX)(R8*2), Y1
	VMOVUPS (BX)(R8*2), Y2
	WIDENED(2)
	MOVQ    CX, DI
	SHRQ    $6, DI
	IMULQ   R9, DI
	ADDQ    R12, DI
	MOVQ    CX, AX
	ANDQ    $63, AX
	ADDQ    AX, DI
	UROW(0)
	UROW(1)
	UROW(2)
	UROW(3)
	UROW(4)
	UROW(5)
	ADDQ    $32, CX
	CMPQ    CX, job_outBytes(R15)
	JLT     channels
	RET

// NARROW, the transpose of WIDEN, takes Y0…Y5 to Y0, Y8, Y5.
#define NARROW \
	VADDPS      Y2, Y1, Y6   \
	VADDPS      Y4, Y3, Y7   \
	VSUBPS      Y1, Y2, Y8   \
	VSUBPS      Y4, Y3, Y9   \
	VMULPS      Y15, Y0, Y0  \
	VFMADD231PS Y6, Y14, Y0  \
	VFMADD231PS Y7, Y11, Y0  \
	VMULPS      Y13, Y8, Y8  \
	VFMADD231PS Y9, Y12, Y8  \
	VFMADD231PS Y6, Y14, Y5  \
	VFMADD231PS Y7, Y13, Y5

#define NARROWED(i) \
	PLANES \
	NARROW \
	VMOVUPS Y0, (32*(i))(R14)    \
	VMOVUPS Y8, (32*(i+6))(R14)  \
	VMOVUPS Y5, (32*(i+12))(R14)

#define TAPS(j) \
	LOADROW6(j) \
	NARROW      \
	VMOVUPS Y0, (DI)       \
	VMOVUPS Y8, (DI)(R8*1) \
	VMOVUPS Y5, (DI)(R8*2)

// shrink is the gradient of weights: U of an input channel, its planes in rows of output channels, to nine rows.
TEXT shrink<>(SB), NOSPLIT|NOFRAME, $0
	FRACTIONS
	MOVQ  AX, R13
	IMULQ job_outBytes(R15), R13
	ADDQ  job_y(R15), R13
	MOVQ  job_panels(R15), R10
	SHLQ  $6, R10
	IMULQ R10, AX
	ADDQ  job_u(R15), AX
	MOVQ  AX, R12
	IMULQ job_inBytes(R15), R10
	SHRQ  $2, R10                // bytes of a plane
	MOVQ  job_tap(R15), R9
	LEAQ  (R9)(R9*2), R8         // bytes of a row of taps
	XORL  CX, CX

channels:
	LEAQ (R12)(CX*1), SI
	NARROWED(0)
	NARROWED(1)
	NARROWED(2)
	NARROWED(3)
	NARROWED(4)
	NARROWED(5)
	LEAQ (R13)(CX*1), DI
	TAPS(0)
	ADDQ R9, DI
	TAPS(1)
	ADDQ R9, DI
	TAPS(2)
	ADDQ $32, CX
	CMPQ CX, job_outBytes(R15)
	JLT  channels
	RET
