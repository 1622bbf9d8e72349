/* The arbiter protocol: two hosts, one VM, NV volumes on one DRBD resource, one record in etcd.
   Guarded commands; no step is ever forced, so a stop, a pause, a slow disk or an etcd without quorum is simply a run
   in which that step does not come yet. README.md says what is modelled and which C++ function each label stands for.

   Three exact reductions keep the space small:
   - Index 0 is always the host that the record names, 1 the other: the hosts are alike, so a commit that moves the
     right swaps every pair (inline swap) instead of changing a field.
   - A transaction that was sent on an older revision can never commit, so every commit removes all others in flight.
   - A host that is down and one whose hostd does nothing differ only in `alive` (its lease).

   Switches: MIG migration; WDBROKEN the lease and the watchdog guard nothing; NV=2; R4IO hostd stops and resumes the
   guest's I/O; DISK=n so many disks may fail; NOTES they leave a durable note; ROLLBACK etcd may go back in time;
   WIPE all of etcd is lost once, a new cluster is set up and the VM is adopted there; MUT_x removes one rule; LIMIT_x are violations that README.md explains. */
#ifndef NV
#define NV 1
#endif
#ifndef DISK
#define DISK 0
#endif
#ifdef MUT_no_note
#undef NOTES
#endif
#define o (1-h)
#define D(v,x) dsk[(v)*2+(x)]
#define G(v,x) good[(v)*2+(x)]
#define I(v,x) ins[(v)*2+(x)]
#define N(v,x) newer[(v)*2+(x)]
#if NV==2
#define LEGS 4
#define AND(p,x) (p(0,x) && p(1,x))
#define OR(p,x)  (p(0,x) || p(1,x))
#else
#define LEGS 2
#define AND(p,x) (p(0,x))
#define OR(p,x)  (p(0,x))
#endif
#define pUTD(v,x)  (D(v,x)==UTD)
#define pOK(v,x)   (D(v,x)>=CONS)
#define pCONS(v,x) (D(v,x)==CONS)
#define pNONE(v,x) (D(v,x)==NONE)
#define pLOST(v,x) (D(v,x)==NONE && N(v,x))
#define pINC(v,x)  (D(v,x)==INC)
#define pNLAST(v,x) (!I(v,x) || I(v,1-(x)))           /* taking it out leaves another leg */
#define pSAME(v,x) (G(v,0)==G(v,1))                   /* DRBD's bitmap is empty */
#define pGOOD(v,x) (D(v,x)!=UTD || G(v,x))
#define pOWED(v,x) (I(v,x) && D(v,x)!=UTD)
/* disk */
#define NONE 0
#define INC  1
#define CONS 2
#define UTD  3
/* domain */
#define OFF  0
#define RUN  1
#define SRCP 2    /* source paused at the switch of a migration */
#define ARR  3    /* arrived on the target, paused */
/* transactions */
#define T0  0
#define TR1 1     /* R1: exclude the peer, its answer goes to the helper that waits */
#define TRX 2     /* R1 of an earlier question: nobody waits for its answer */
#define TR2 3     /* R2: the holder claims a start */
#define TTK 4     /* R2: take over; compares the holder's lease too */
#define TLV 5     /* R5: the other host leaves the lists */
#define TGV 6     /* H */
#define TMG 7     /* mark a migration */
#define TUM 8     /* take the mark off */
#define TRE 9     /* R4: exclude the peer before hostd's own stop is lifted */
#define TRK 16    /* R4: the same with the own leg the bad one: a write that changes nothing */
#define TR3 10    /* R3: add back, volume 0; +1: volume 1 */
#define TSW 17    /* R3: the leg a primary without a disk works on, in place of its own; +1: volume 1 */
#define TSP 12    /* R4: take the peer's leg out */
#define TSO 14    /* R4: take the own leg out */

/* --- the record in etcd; its holder is index 0 --- */
bit ins[LEGS]; bit rmig;
/* --- in flight, all sent on the newest revision --- */
byte tx[2];       /* hostd waits for its end */
int ox[2];        /* nobody waits: delayed, or of a hostd that died; a set of kinds */
#define BIT(k) (1<<(k))
#define HAS(h,k) ((ox[h]>>(k))&1)
/* --- DRBD --- */
bit con = 1;
bit win;          /* allow-two-primaries */
bit prim[2];
#ifdef MIG
bit prw[2];       /* the target is at its promotion, by a record that it has read before; tried again for a while */
#define PRW(h) prw[h]   /* one change of a resource's role at a time: the kernel's state_mutex */
#define PRW_ENDS(h) prw[h]=0      /* who takes the right asks the same question once more */
#else
#define PRW(h) 0
#define PRW_ENDS(h) skip
#endif
/* 1: frozen or promoting, the helper asks; 2: the answer is "excluded", not yet heard by the kernel */
byte fz[2];
bit newer[LEGS];  /* its generation is ahead of the peer's: went on alone, or is the source of a resync */
bit crp[2];       /* crashed while Primary */
byte cn[2] = 2;   /* 0 StandAlone, attached since; 1 StandAlone, may connect (R5, or never detached); 2 connects,
                     3 connects as the holder with a leg attached since */
byte dsk[LEGS]; bit good[LEGS];    /* good: holds every write that the guest saw confirmed */
/* --- hosts --- */
bit alive[2]; byte dom[2]; bit mayp[2];    /* mayp: a claim of this hostd is committed, it may promote and start */
#ifdef R4IO
bit usr[2];       /* I/O stopped by hostd */
bit rio[2];       /* a resume-io was decided, not yet heard by the kernel */
#ifdef MUT_orphan_command
bit orph[2];      /* a resume-io of a hostd that died; the next one does not know of it */
#endif
#define USR(h) usr[h]
#define RIO(h) rio[h]
#else
#define USR(h) 0
#define RIO(h) 0
#endif
#if DISK
byte nfail;
#endif
#ifdef NOTES
byte note[2];     /* durable, a bit for each volume: the leg here has lost its disk */
#define NOTE(h) (note[h]!=0)
#else
#define NOTE(h) 0
#endif
#ifdef ROLLBACK
bit sins[LEGS]; bit smig; bit shold;    /* the copy; shold: which index it names as holder */
bit taken; bit back; bit moved; bit seen[2]; bit epmoved;
#ifdef MUT_r6_ignored
#define DISTRUST(h) 0
#else
#define DISTRUST(h) (back && seen[h])      /* R6_distrust */
#endif
#ifdef MUT_r6_writes        /* the notes are compared before R1, R2 and R3 only */
#define UNSURE(h) 0
#else
#define UNSURE(h) DISTRUST(h)
#endif
#else
#define DISTRUST(h) NO_RECORD
#define UNSURE(h) NO_RECORD
#endif
#ifdef WIPE
/* All of etcd is lost: nothing commits until a host adopts the VM in the new cluster. */
byte wipe;        /* 0 not yet, 1 lost, 2 adopted */
bit joined[2];    /* hostd --new-cluster was run here, and hostd is in the new cluster */
#define NO_RECORD (wipe==1)
#define GONE_BY(h) (NO_RECORD && joined[h])
#else
#define NO_RECORD 0
#define GONE_BY(h) 0
#endif
#ifdef MIG
bit mop;          /* the operation `migrate` holds the VM: no remedy, no other operation */
#define MOP mop
#define MOP_BEGINS mop=1
#define MOP_ENDS mop=0
#else
#define MOP 0
#define MOP_BEGINS skip
#define MOP_ENDS skip
#endif
#ifdef MUT_cached_win
bit won[2];
#endif
#ifdef MUT_look_then_read
bit looked[2];
#endif
byte k; byte q; byte s; byte t; byte m;    /* for use inside one step; zero between steps */

#define SWAPB(a) m=a[0]; a[0]=a[1]; a[1]=m
#define SWAPV(a) m=a[0]; a[0]=a[1]; a[1]=m
#if NV==2
#define SWAP2(a) SWAPV(a); m=a[2]; a[2]=a[3]; a[3]=m
#else
#define SWAP2(a) SWAPV(a)
#endif
inline swap() {
  SWAP2(ins); SWAP2(newer); SWAP2(dsk); SWAP2(good);
  SWAPB(prim); SWAPB(fz); SWAPB(crp); SWAPB(cn); SWAPB(alive); SWAPB(dom); SWAPB(mayp);
  SWAPB(tx); SWAPB(ox);
#ifdef MIG
  SWAPB(prw);
#endif
#ifdef R4IO
  SWAPB(usr); SWAPB(rio);
#ifdef MUT_orphan_command
  SWAPB(orph);
#endif
#endif
#ifdef NOTES
  SWAPB(note);
#endif
#ifdef WIPE
  SWAPB(joined);
#endif
#ifdef ROLLBACK
  SWAP2(sins); SWAPB(seen); shold = 1-shold;
#endif
#ifdef MUT_cached_win
  SWAPB(won);
#endif
#ifdef MUT_look_then_read
  SWAPB(looked);
#endif
  m=0
}

/* Nobody waits for it any more, and yet it may commit. */
#define DELAY(h) if :: tx[h]!=T0 -> ox[h]=ox[h]|BIT(tx[h]==TR1 -> TRX : tx[h]); tx[h]=T0 :: else fi

/* U_revision: a transaction compares the revision it was decided on; after a commit every other one fails. */
inline none_in_flight() {
#ifdef MUT_no_revision          /* the add-back does not compare the revision */
  ox[0]=ox[0]&BIT(TR3); ox[1]=ox[1]&BIT(TR3); tx[0]=T0; tx[1]=T0
#elif defined(MUT_take_no_revision)
  if :: tx[1]!=TTK -> tx[1]=T0 :: else fi; tx[0]=T0; ox[0]=T0; ox[1]=T0
#else
  tx[0]=T0; tx[1]=T0; ox[0]=T0; ox[1]=T0
#endif
}

/* R4_never_last: a volume always lists a leg. */
#define pANYLEG(v,x) (I(v,0) || I(v,1))
#if NV==2
#define SETI(x,b) I(0,x)=b; I(1,x)=b
#define ALONE(x) N(0,x)=(D(0,x)!=NONE -> 1 : N(0,x)); N(1,x)=(D(1,x)!=NONE -> 1 : N(1,x))
#define SETDUTD(x) if :: D(0,x)==CONS -> D(0,x)=UTD :: else fi; if :: D(1,x)==CONS -> D(1,x)=UTD :: else fi
#else
#define SETI(x,b) I(0,x)=b
#define ALONE(x) N(0,x)=(D(0,x)!=NONE -> 1 : N(0,x))
#define SETDUTD(x) if :: D(0,x)==CONS -> D(0,x)=UTD :: else fi
#endif

/* A commit of kind k by host h; `heard`: the hostd that sent it waits for the answer. */
inline commit(h, heard) {
  if
  :: k==TR1 || k==TRX -> /* R1_commit: core::exclude_peer */
       SETI(o,0); rmig=0; if :: heard && k==TR1 && fz[h]==1 -> fz[h]=2 :: else fi
#ifdef MUT_cached_win
       ; if :: heard -> won[h]=1 :: else fi
#endif
  :: k==TR2 -> if :: heard -> mayp[h]=1 :: else fi                       /* R2_claim: core::claim, epoch+1 */
  :: k==TTK -> SETI(h,1); SETI(o,0); rmig=0; MOP_ENDS; PRW_ENDS(h); if :: heard -> mayp[h]=1 :: else fi; /* R2_take: core::take */
       if :: cn[o]==0 -> cn[o]=1 :: else fi    /* a record without it since its attach; its hostd may not know yet */
  :: k==TLV -> SETI(h,0); if :: heard && cn[h]==0 -> cn[h]=1 :: else fi  /* R5_leave: rejoin in reconcile.cpp */
  :: k==TGV -> rmig=0                                                    /* H_hand_over: core::hand_over */
#ifdef R4IO
  :: k==TRE || k==TRK -> if :: k==TRE -> SETI(o,0) :: else fi;           /* R4_resume */
       if :: heard && usr[h] -> rio[h]=1 :: else fi
#endif
  :: k==TMG -> rmig=1; MOP_BEGINS
  :: k==TUM -> rmig=0
  :: k==TR3 -> I(0,0)=1; I(0,1)=1                                        /* R3_add_back: core::add_leg */
  :: k==TSW -> I(0,h)=0; I(0,o)=1                                        /* R3_swap: core::swap_leg */
  :: k==TSP -> I(0,o)=0                                                  /* R4_shrink: core::remove_leg */
  :: k==TSO -> I(0,h)=0
#if NV==2
  :: k==TR3+1 -> I(1,0)=1; I(1,1)=1
  :: k==TSW+1 -> I(1,h)=0; I(1,o)=1
  :: k==TSP+1 -> I(1,o)=0
  :: k==TSO+1 -> I(1,h)=0
#endif
  fi;
  none_in_flight();
  assert(AND(pANYLEG,0));
#ifdef ROLLBACK
  if :: taken && !back -> moved=1; if :: k==TTK || k==TGV || k==TR2 -> epmoved=1 :: else fi :: else fi;
  if :: back && !epmoved -> back=0; moved=0 :: else fi;                  /* the notes follow a newer revision */
  if :: heard && taken && !back -> seen[h]=1 :: else fi;                 /* R6_note: core::noted */
#endif
  if :: k==TTK || k==TGV -> swap() :: else fi;
  k=0
}

/* The link is lost: a Primary freezes, unless it knows the peer to be no good on every volume (kernel: susp_fen). */
inline drop() {
  con=0; q=0;
  do
  :: q<2 ->
     if
     :: prim[q] && fz[q]==0 ->
        if
        :: !AND(pINC,1-q) -> fz[q]=1
#ifdef MUT_cached_win
           ; if :: won[q] -> fz[q]=2 :: else fi
#endif
        :: else -> ALONE(q)
        fi
     :: else
     fi; q++
  :: else -> break
  od; q=0
}

#if defined(NOTES) && !defined(MUT_attach_noted)   /* R5_noted: attached only while connected to an UpToDate leg */
#define COMES_BACK(v,h) (!(note[h]&BIT(v)))
#else                           /* a disk that failed is there again and looks as good as before */
#define COMES_BACK(v,h) 1
#endif
/* Power cut or reset. The disk comes back Consistent, UpToDate only if it knew the peer to be behind. */
inline kill(h) {
  if :: con -> drop() :: else fi;
  alive[h]=0; dom[h]=OFF; mayp[h]=0;
  if :: prim[h] -> crp[h]=1 :: else fi;
  prim[h]=0; fz[h]=0; win=0;
#ifdef MIG
  prw[h]=0;
#endif
#ifdef MUT_reboot_connects      /* DRBD comes up connecting by itself */
  cn[h]=2;
#else
  cn[h]=0;
#endif
#ifdef R4IO
  usr[h]=0; rio[h]=0;
#ifdef MUT_orphan_command
  orph[h]=0;
#endif
#endif
#ifdef MUT_cached_win
  won[h]=0;
#endif
#ifdef MUT_look_then_read
  looked[h]=0;
#endif
  DELAY(h);
  if :: D(0,h)==UTD && !N(0,h) -> D(0,h)=CONS :: D(0,h)==NONE && COMES_BACK(0,h) -> D(0,h)=CONS :: else fi;
#if NV==2
  if :: D(1,h)==UTD && !N(1,h) -> D(1,h)=CONS :: D(1,h)==NONE && COMES_BACK(1,h) -> D(1,h)=CONS :: else fi;
#endif
}

#ifdef WDBROKEN
/* a copy whose disk is frozen confirms nothing: it is counted when it can write */
#define S1_start(h) assert(!(dom[1-h]==RUN && prim[1-h] && fz[1-h]==0 && fz[h]==0))
#define S2_start(h) assert(fz[h]!=0 || AND(pGOOD,h))
#else
#define S2_start(h) assert(AND(pGOOD,h))
#define S1_start(h) assert(dom[1-h]!=RUN)
#endif
#define QUIET(h) (tx[h]==T0 && !RIO(h))     /* one remedy or step at a time: busy_vms_ in worker.cpp */

#ifdef MUT_any_disk
#define DISKS_OK(x) 1
#else
#define DISKS_OK(x) AND(pOK,x)
#endif
#define S3_promote(h) assert(AND(pOK,h))        /* never Inconsistent or without a disk */

/* S2_write: a confirmed write reaches every UpToDate leg that is connected, else the own one alone. */
#define WRITE(h,v) \
  if \
  :: con && D(v,h)==UTD && D(v,o)==UTD -> assert(G(v,h)) \
  :: con && D(v,h)==UTD && D(v,o)!=UTD -> assert(G(v,h)); G(v,o)=0 \
  :: con && D(v,h)!=UTD && D(v,o)==UTD -> assert(G(v,o)); G(v,h)=0 \
  :: !con && D(v,h)==UTD -> assert(G(v,h)); G(v,o)=0 \
  :: else \
  fi

/* DRBD's handshake, volume v: who is the source, and whether it resyncs. A leg without a disk has no say. */
#define K_SOURCE(v,src) \
  if :: D(v,0)==NONE -> src=1 :: D(v,1)==NONE -> src=0 \
     :: else -> if :: N(v,0) -> src=0 :: N(v,1) -> src=1 \
                :: else -> if :: crp[0] && !crp[1] -> src=0 :: crp[1] && !crp[0] -> src=1 \
                              :: else -> src=(prim[1] && !prim[0] -> 1 : 0) fi fi fi
#define K_SYNCS(v,src) (D(v,0)!=NONE && D(v,1)!=NONE && (N(v,src) || (crp[src] && !crp[1-(src)]) || D(v,1-(src))==INC))
/* S5_resync: what is overwritten is never the only leg that holds everything. */
#define K_CONNECT(v,src) \
  if :: K_SYNCS(v,src) -> assert(G(v,src)); D(v,1-src)=INC; N(v,src)=1 \
     :: else -> if :: D(v,1-src)==CONS -> D(v,1-src)=UTD :: else fi fi; \
  if :: D(v,src)==CONS -> D(v,src)=UTD :: else fi
/* K_only_consistent (drbd_receiver.c): a frozen Primary meets a leg that is only Consistent: the frozen writes are
   completed, the connection is given up. */
#define K_THAWS(x) (prim[x] && !prim[1-(x)] && fz[x]!=0 && OR(pCONS,1-(x)) && !OR(N,x))
#if NV==2
#define K_LOST(v,x) if :: D(v,x)==UTD -> G(v,1-(x))=0 :: else fi
#define K_LOSE(x) if :: dom[x]==RUN -> ALONE(x); K_LOST(0,x); K_LOST(1,x) :: else fi
#else
#define K_LOSE(x) if :: dom[x]==RUN && D(0,x)==UTD -> ALONE(x); G(0,1-(x))=0 :: else fi
#endif

#if DISK
/* A disk fails. Whoever goes on without it starts a new generation (kernel: drbd_uuid_new_current). */
#ifdef NOTES
#define R5_NOTE(v) note[h]=note[h]|BIT(v);              /* R5_note: Observer::note_failures */
#else
#define R5_NOTE(v)
#endif
#define FAIL(v) \
  D(v,h)=NONE; R5_NOTE(v) \
  if :: con && (prim[0] || prim[1]) && D(v,o)==UTD -> N(v,o)=1 :: else fi
#endif

proctype Host(byte h) {
end: do
  :: d_step { dom[h]==RUN && prim[h] && fz[h]==0 && !USR(h) -> WRITE(h,0) }
#if NV==2
  :: d_step { dom[h]==RUN && prim[h] && fz[h]==0 && !USR(h) -> WRITE(h,1) }
#endif
  :: d_step { dom[h]==RUN -> dom[h]=OFF }     /* the guest ends, or a copy that the record does not name is destroyed */

  /* ---- etcd ---- */
#define LATE(kind) :: d_step { HAS(h,kind) -> ox[h]=ox[h]&~BIT(kind); k=kind; commit(h,0) }
  LATE(TRX) LATE(TR2) LATE(TLV) LATE(TGV) LATE(TR3) LATE(TSP) LATE(TSO)
#if NV==2
  LATE(TR3+1) LATE(TSP+1) LATE(TSO+1)
#endif
#if DISK
  LATE(TSW)
#if NV==2
  LATE(TSW+1)
#endif
#endif
#ifdef MIG
  LATE(TMG) LATE(TUM)
#endif
#ifdef R4IO
  LATE(TRE) LATE(TRK)
#endif
#if defined(WDBROKEN) || defined(MUT_no_lease_compare)
  LATE(TTK)
  :: d_step { tx[h]!=T0 -> k=tx[h]; commit(h,1) }
#else   /* R2_lease: had the holder renewed its lease since, the compare fails */
  :: d_step { tx[h]!=T0 -> k=tx[h]; if :: k==TTK && alive[o] -> tx[h]=T0; k=0 :: else -> commit(h,1) fi }
  :: d_step { HAS(h,TTK) -> ox[h]=ox[h]&~BIT(TTK); if :: alive[o] :: else -> k=TTK; commit(h,0) fi }
#endif
  :: d_step { tx[h]!=T0 -> DELAY(h) }                                    /* U: outcome unknown */

  /* ---- the kernel's question and its answer: hostd/arbiter.cpp, core/loss.cpp ---- */
#ifdef MUT_r1_by_anyone         /* whoever is in the lists may win, holder or not */
  :: d_step { h==1 && fz[1]==1 && QUIET(1) && AND(I,1) && AND(pUTD,1) -> tx[1]=TR1 }
#endif
#ifdef MUT_r1_old_record        /* answers from an older record */
  :: d_step { h==0 && fz[0]==1 && !OR(I,1) -> fz[0]=2 }
#endif
#ifdef MUT_r1_before_commit     /* answers when the transaction is sent */
  :: d_step { h==0 && fz[0]==1 && tx[0]==TR1 -> ox[0]=ox[0]|BIT(TRX); tx[0]=T0; fz[0]=2 }
#endif
  :: d_step { h==0 && fz[0]==1 && QUIET(0) && !DISTRUST(0) && !NOTE(0) &&  /* R1_send: core::decide_loss */
       AND(I,0) && !(rmig && dom[0]==OFF) &&
#if defined(MUT_r1_any_disk) || defined(MUT_any_disk)   /* R1 whatever the own disk is */
       1
#else
       ((prim[0] && AND(pUTD,0)) || (!prim[0] && AND(pOK,0)))
#endif
       ->
#if defined(MIG) && !defined(MUT_lost_window_open)   /* S4_lost: the commit takes the mark away */
       if :: rmig && prim[0] -> win=0 :: else fi;
#endif
       tx[0]=TR1 }
  /* R1_answer: exit 4; the kernel looks at the disk too */
  :: d_step { fz[h]==2 && !con && (prim[h] || DISKS_OK(h)) ->
       fz[h]=0; ALONE(h); if :: !prim[h] -> S3_promote(h); prim[h]=1; crp[h]=0; SETDUTD(h) :: else fi }

  /* ---- the record is kept true: core/reconcile.cpp keep_lists; the holder only ---- */
#ifdef MUT_look_then_read
  :: d_step { h==0 && con && !looked[0] && AND(pUTD,0) && AND(pUTD,1) -> looked[0]=1 }
  :: d_step { h==0 && looked[0] && !(I(0,0) && I(0,1)) -> looked[0]=0; ox[0]=ox[0]|BIT(TR3) }
#endif
  /* R3_add_back: revision first, then DRBD afresh; as one step, since a change in between defeats the compare */
#define R3_add_back(v) \
  d_step { h==0 && !MOP && con && !DISTRUST(0) && D(v,0)==UTD && D(v,1)==UTD && !(I(v,0) && I(v,1)) && \
    OUT_OF_SYNC_0(v) && R3_WAITS(0) -> ox[0]=ox[0]|BIT(TR3+v) }
#ifdef MUT_no_out_of_sync
#define OUT_OF_SYNC_0(v) 1
#else
#define OUT_OF_SYNC_0(v) pSAME(v,0)
#endif
#ifdef MUT_add_back_beside_resume
#define R3_WAITS(h) 1
#else
#define R3_WAITS(h) (!RIO(h))
#endif
#ifdef MUT_shrink_last
#define LAST_OK(v,x) 1
#else
#define LAST_OK(v,x) I(v,1-(x))
#endif
#define R4_shrink_peer(v) \
  d_step { h==0 && !MOP && con && !UNSURE(0) && D(v,1)!=UTD && I(v,1) && LAST_OK(v,1) -> ox[0]=ox[0]|BIT(TSP+v) }
#define R4_shrink_own(v) \
  d_step { h==0 && !MOP && con && !UNSURE(0) && D(v,0)!=UTD && D(v,1)==UTD && I(v,0) && LAST_OK(v,0) -> \
       ox[0]=ox[0]|BIT(TSO+v) }
  /* R3_swap: the own disk failed after the peer's resync had ended, before that was committed */
#ifdef MUT_swap_any
#define SWAP_PEER(v) (D(v,1)!=NONE)
#else
#define SWAP_PEER(v) (D(v,1)==UTD)
#endif
#ifdef MUT_swap_secondary
#define SWAP_ROLE 1
#else
#define SWAP_ROLE prim[0]
#endif
#define R3_swap(v) \
  d_step { h==0 && !MOP && con && SWAP_ROLE && !DISTRUST(0) && D(v,0)==NONE && SWAP_PEER(v) && I(v,0) && !I(v,1) && \
    R3_WAITS(0) -> ox[0]=ox[0]|BIT(TSW+v) }
  :: R3_add_back(0)
#if DISK
  :: R3_swap(0)
#endif
#ifndef MUT_no_shrink
  :: R4_shrink_peer(0)
  :: R4_shrink_own(0)
#endif
#if NV==2
  :: R3_add_back(1)
#if DISK
  :: R3_swap(1)
#endif
#ifndef MUT_no_shrink
  :: R4_shrink_peer(1)
  :: R4_shrink_own(1)
#endif
#endif

  /* ---- start: steps/step.cpp claim_and_promote, steps/power.cpp start_domain ---- */
#ifdef MUT_claim_unlisted
#define LISTED(x) 1
#else
#define LISTED(x) AND(I,x)
#endif
#ifdef MUT_claim_while_marked
#define UNMARKED 1
#else
#define UNMARKED (!rmig)
#endif
  :: d_step { h==0 && !MOP && alive[0] && QUIET(0) && dom[0]==OFF && !mayp[0] && UNMARKED && LISTED(0) && DISKS_OK(0) &&
       !DISTRUST(0) && !NOTE(0) -> tx[0]=TR2 }                           /* R2_claim */
  /* R2_promote alone: the kernel asks first */
  :: d_step { mayp[h] && !RIO(h) && !prim[h] && !PRW(h) && fz[h]==0 && !con && DISKS_OK(h) -> fz[h]=1 }
  :: d_step { mayp[h] && !RIO(h) && !prim[h] && !PRW(h) && con && !prim[o] && AND(pUTD,h) -> prim[h]=1; crp[h]=0 }
  /* R2_start */
  :: d_step { mayp[h] && !RIO(h) && prim[h] && dom[h]==OFF -> S1_start(h); S2_start(h); mayp[h]=0; dom[h]=RUN }
  :: d_step { prim[h] && dom[h]==OFF && !mayp[h] && !RIO(h) && !MOP -> prim[h]=0; fz[h]=0 }           /* demote */

  /* ---- takeover: core::may_take_over, steps/failover.cpp take_right ---- */
  :: d_step { h==1 &&
       alive[1] && QUIET(1) && !mayp[1] && LISTED(1) && DISKS_OK(1) && !(con && prim[0]) && !DISTRUST(1) && !NOTE(1) &&
       dom[1]!=RUN && dom[1]!=SRCP ->                                    /* R2_take */
       dom[1]=OFF;
#ifndef MUT_take_linked         /* R2_standalone: the link is cut before, by force */
       if :: con -> drop() :: else fi; win=0; if :: cn[1]==2 -> cn[1]=1 :: cn[1]==3 -> cn[1]=0 :: else fi;
#endif
       tx[1]=TTK }

  /* ---- connect: DRBD comes up StandAlone, hostd decides: core/reconcile.cpp ---- */
  :: d_step { h==0 && !MOP && alive[0] && cn[0]<2 && !mayp[0] && !GONE_BY(0) -> cn[0]=(OR(pCONS,0) -> 3 : 2) }
#ifdef MUT_connect_before_leave
  :: d_step { h==1 && !MOP && alive[1] && cn[1]<2 && !mayp[1] && tx[1]!=TTK && !HAS(1,TTK) -> cn[1]=2 }
#else
  :: d_step { h==1 && !MOP && alive[1] && cn[1]==1 && !mayp[1] && tx[1]!=TTK && !HAS(1,TTK) && !GONE_BY(1) -> cn[1]=2 }
#endif
#ifdef MUT_leave_if_listed
  :: d_step { h==1 && !MOP && alive[1] && cn[1]==0 && !OR(I,1) -> cn[1]=1 }
#endif
  /* R5_leave */
  :: d_step { h==1 && !MOP && alive[1] && cn[1]==0 && QUIET(1) && !mayp[1] && !UNSURE(1) && AND(pNLAST,1) -> tx[1]=TLV }

  /* ---- hand-over without migration: steps/create.cpp hand_over after demote ---- */
#ifdef MUT_hand_over_early
#define H_GONE 1
#else
#define H_GONE (dom[0]==OFF && !prim[0])
#endif
#ifdef MUT_hand_over_unlisted
#define H_TO 1
#else
#define H_TO AND(I,1)
#endif
  /* H_hand_over */
  :: d_step { h==0 && !MOP && alive[0] && QUIET(0) && H_GONE && !mayp[0] && !rmig && H_TO && !UNSURE(0) ->
       ox[0]=ox[0]|BIT(TGV) }

  /* ---- hostd and host ---- */
  :: d_step { mayp[h] || tx[h]!=T0 || fz[h]==2 || cn[h]==1 || RIO(h) ->   /* hostd dies; its commands die with it */
       mayp[h]=0; if :: fz[h]==2 -> fz[h]=1 :: else fi; if :: cn[h]==1 -> cn[h]=0 :: else fi;
       DELAY(h)
#ifdef MUT_orphan_command
       ; if :: rio[h] -> orph[h]=1 :: else fi
#endif
#ifdef R4IO
       ; rio[h]=0
#endif
     }
#ifdef WDBROKEN
  :: d_step { kill(h); alive[h]=1 }
#else
  :: d_step { alive[h] -> kill(h) }
  :: d_step { !alive[h] -> alive[h]=1;                                   /* the first renewal */
       if :: tx[o]==TTK -> tx[o]=T0 :: else fi; ox[o]=ox[o]&~BIT(TTK) }
#endif

#ifdef MIG
  /* ---- migration from 0 to 1: steps/migrate.cpp ---- */
  :: d_step { h==0 && !MOP && !rmig && dom[0]==RUN && con && !UNSURE(0) &&                       /* M_mark */
       AND(I,0) && AND(I,1) && AND(pUTD,0) && AND(pUTD,1) -> ox[0]=ox[0]|BIT(TMG) }
#ifdef MUT_window_unmarked
#define MARKED 1
#else
#define MARKED (rmig && mop)
#endif
/* The steps come one after the other: none is begun when the end of a later one, or of the undo, is on its way. */
#define NO_LATER_STEP (!HAS(0,TGV) && !HAS(0,TUM))
#ifdef MUT_window_unsettled
#define U_SETTLED 1
#else                           /* U_window: no R1 that was sent before may still take the mark away */
#define U_SETTLED (tx[0]==T0 && !HAS(0,TRX))
#endif
  /* S4_window */
  :: d_step { h==0 && (MARKED) && !GONE_BY(0) && con && !win && dom[0]==RUN && prim[0] && AND(pUTD,0) && AND(pUTD,1) && NO_LATER_STEP &&
       U_SETTLED -> win=1 }
  /* undo of the window: after that of the promotion, before that of the mark */
  :: d_step { h==0 && win && rmig && dom[1]==OFF && ((!prim[1] && !prw[1]) || !alive[1]) -> win=0 }
  :: d_step { h==1 &&
       MARKED && !GONE_BY(1) && con && win && prim[0] && !prim[1] && fz[1]==0 && dom[1]==OFF && AND(I,1) && AND(pUTD,1) && AND(pUTD,0) &&
       NO_LATER_STEP -> prw[1]=1; mayp[1]=0 }                                                        /* S4_promote */
#ifdef ROLLBACK
#define S4_MARKED (rmig || back)    /* a mark that etcd has lost no window can follow */
#else
#define S4_MARKED rmig
#endif
  :: d_step { prw[h] && con && win && prim[o] && !prim[h] -> assert(S4_MARKED); prim[h]=1; crp[h]=0; prw[h]=0 }
  :: d_step { prw[h] && (!con || !win) -> prw[h]=0 }                     /* refused, or given up */
  :: d_step { h==0 && dom[0]==RUN && dom[1]==OFF && win && rmig && prim[0] && prim[1] && alive[1] && !GONE_BY(1) ->
       dom[0]=SRCP; dom[1]=ARR }
  :: d_step { dom[h]==SRCP && dom[o]==ARR -> dom[h]=OFF }                /* the end is confirmed, the source goes */
#ifdef WDBROKEN
  :: d_step { dom[h]==SRCP -> assert(!(dom[o]==RUN && prim[o] && fz[o]==0 && fz[h]==0 && prim[h])); dom[h]=RUN }
#else
  /* its word is lost: libvirt resumes the source */
  :: d_step { dom[h]==SRCP -> assert(dom[o]!=RUN); dom[h]=RUN }
#endif
#ifdef MUT_target_takes         /* the target moves the record when the guest arrives */
  :: d_step { h==1 && dom[1]==ARR && rmig && ox[1]==T0 -> rmig=0; none_in_flight(); swap() }
#endif
#ifdef MUT_hand_over_early
  :: d_step { h==0 && alive[0] && rmig && dom[1]==ARR && AND(I,1) && !UNSURE(0) -> ox[0]=ox[0]|BIT(TGV) }
#else
  /* H_migrated */
  :: d_step { h==0 && alive[0] && rmig && mop && dom[0]==OFF && !prw[1] && H_TO && !UNSURE(0) -> ox[0]=ox[0]|BIT(TGV) }
#endif
#ifdef MUT_resume_before_hand_over
  :: d_step { h==1 && dom[1]==ARR && prim[1] -> S1_start(1); S2_start(1); dom[1]=RUN }
#endif
  /* H_resume */
  :: d_step { h==0 && dom[0]==ARR && prim[0] && (!DISTRUST(0) || (NO_RECORD && !GONE_BY(0))) ->
       S1_start(0); assert(dom[1]!=SRCP); S2_start(0); dom[0]=RUN }
  /* undo: the copy that never ran is destroyed */
  :: d_step { dom[h]==ARR && h==1 -> dom[1]=OFF }
  /* undo of the promotion, or demote_source */
  :: d_step { h==1 && prim[1] && dom[1]==OFF && !mayp[1] -> prim[1]=0; fz[1]=0 }
  :: d_step { h==0 && mop && !rmig && !prim[1] && !prw[1] && dom[1]==OFF && dom[0]!=ARR && !HAS(0,TGV) -> mop=0 }
#ifdef MUT_unmark_blind
  :: d_step { h==0 && alive[0] && rmig && !UNSURE(0) -> ox[0]=ox[0]|BIT(TUM) }
#else
  /* M_unmark */
  :: d_step { h==0 && alive[0] && rmig && !UNSURE(0) && !win && ((dom[1]==OFF && !prim[1] && !prw[1]) || !alive[1]) ->
       ox[0]=ox[0]|BIT(TUM) }
#endif
  :: d_step { h==0 && win && !(prim[0] && prim[1]) && !rmig -> win=0 }   /* S4_close */
#endif

#ifdef R4IO
  /* ---- R4: hostd stops the guest's I/O until the record is true: worker.cpp owe, stop_while_owed ---- */
  :: d_step { h==0 && con && prim[0] && !usr[0] && (OR(pOWED,1) || OR(pOWED,0)) -> usr[0]=1 }         /* R4_stop */
#ifdef MUT_resume_listed        /* the peer may be listed when the command is on its way */
  :: d_step { h==0 && usr[0] && !rio[0] && fz[0]==0 && !OR(pOWED,1) && !OR(pOWED,0) -> rio[0]=1 }
#else                           /* R4_resume: right after a write of the same remedy that leaves the peer out, unless
                                   the own leg is the bad one; R3 adds it back afterwards */
  :: d_step { h==0 && !MOP && usr[0] && !rio[0] && QUIET(0) && !DISTRUST(0) && AND(I,0) && AND(pUTD,0) -> tx[0]=TRE }
  :: d_step { h==0 && !MOP && usr[0] && !rio[0] && QUIET(0) && !DISTRUST(0) && !OR(pOWED,0) && AND(pNONE,0) ->
       tx[0]=TRK }
#endif
#ifdef MUT_orphan_command
  :: d_step { orph[h] ->
       orph[h]=0; usr[h]=0; if :: fz[h]!=0 && prim[h] && !con && OR(pUTD,h) -> fz[h]=0; ALONE(h) :: else fi }
#endif
  :: d_step { rio[h] -> rio[h]=0; usr[h]=0;    /* the kernel's command lifts every reason at once */
       if :: fz[h]!=0 && prim[h] && !con && OR(pUTD,h) -> fz[h]=0; ALONE(h) :: else fi }
#endif

#ifdef WIPE
  /* ---- the way back: hostd --new-cluster by hand on each host, then `vm adopt` in the new cell ---- */
#ifdef MUT_new_cluster_beside   /* the hostd that runs is not stopped for it, and goes on with what it was doing */
#define W_STOPPED skip
#else
#define W_STOPPED PRW_ENDS(h); mayp[h]=0; fz[h]=0; if :: cn[h]==1 -> cn[h]=0 :: else fi
#endif
  /* W_joins: core::in_new_cluster; refused with a guest or a Primary */
  :: d_step { NO_RECORD && !joined[h] && alive[h] && dom[h]==OFF && !prim[h] && !RIO(h) -> joined[h]=1; W_STOPPED }
#ifdef MUT_adopt_unasked        /* the other host is not asked */
#define W_ASKED joined[h]
#else
#define W_ASKED (joined[0] && joined[1] && alive[0] && alive[1] && dom[o]==OFF && !prim[o] && !NOTE(o) && !OR(pNONE,o))
#endif
#ifdef MUT_adopt_behind         /* DRBD's generations are not compared */
#define W_NEWEST 1
#else
#define W_NEWEST (!OR(N,o))
#endif
  /* W_adopt: core::adopted, after both hosts have cut the link; the record is made with the own legs alone */
  :: d_step { NO_RECORD && W_ASKED && dom[h]==OFF && !prim[h] && !NOTE(h) && AND(pOK,h) && W_NEWEST ->
       if :: con -> drop() :: else fi; win=0; cn[0]=0; cn[1]=0;
       SETI(h,1); SETI(o,0); rmig=0; MOP_ENDS; wipe=2;
       if :: h==1 -> swap() :: else fi }
#endif

#if DISK
  :: d_step { nfail<DISK && alive[h] && D(0,h)!=NONE -> nfail++; FAIL(0) }
#if NV==2
  :: d_step { nfail<DISK && alive[h] && D(1,h)!=NONE -> nfail++; FAIL(1) }
#endif
#ifdef MUT_attach_listed
#define OUT(v) 1
#else
#define OUT(v) (!I(v,h))
#endif
#ifdef NOTES                    /* R5_marked: the metadata says Inconsistent before it is attached; the note is over */
#define MARKED_OLD(v) note[h]=note[h]&~BIT(v);
#else
#define MARKED_OLD(v)
#endif
#define R5_attach_again(v) \
  d_step { con && D(v,h)==NONE && D(v,o)==UTD && OUT(v) && !RIO(h) && tx[h]!=TRK -> \
           MARKED_OLD(v) D(v,h)=INC; N(v,o)=1 }
  :: R5_attach_again(0)      /* may_attach_again in reconcile.cpp */
#if NV==2
  :: R5_attach_again(1)
#endif
#ifdef NOTES
#define R5_FORGIVE(v) \
  d_step { (note[h]&BIT(v)) && con && D(v,0)==UTD && D(v,1)==UTD && pSAME(v,h) -> note[h]=note[h]&~BIT(v) }
  :: R5_FORGIVE(0)           /* R5_forgive: Worker::forgive */
#if NV==2
  :: R5_FORGIVE(1)
#endif
#endif
#endif
  od
}

proctype Kernel() {
end: do
  :: d_step { con -> drop() }                                /* the link is cut */
  :: d_step { !con && cn[0]>=2 && cn[1]>=2 && alive[0] && alive[1] ->    /* it comes back: DRBD's handshake */
       /* S5_split: both ahead of each other would be a split brain, which only a person may end */
       assert(!(N(0,0) && N(0,1)));
       K_SOURCE(0,s);
#if NV==2
       assert(!(N(1,0) && N(1,1)));
       K_SOURCE(1,t);
#endif
       if
       :: prim[0] && prim[1] && (OR(N,0) || OR(N,1) || !win) -> skip                       /* refused */
       /* would overwrite a Primary */
       :: K_SYNCS(0,s) && prim[1-s] && !prim[s] -> skip
#if NV==2
       :: K_SYNCS(1,t) && prim[1-t] && !prim[t] -> skip
#endif
#if DISK
       :: (prim[0] && OR(pLOST,0)) || (prim[1] && OR(pLOST,1)) -> skip                     /* not its data: refused */
#endif
#if defined(WDBROKEN) && !defined(LIMIT_HOLDER_REATTACHED)
       /* assumed away here and shown by LIMIT_HOLDER_REATTACHED: a leg that was attached while its host was the holder,
          so without R5's write, meets the old holder, which should be dead and stands frozen */
       :: K_THAWS(0) && cn[1]==3 -> skip
       :: K_THAWS(1) && cn[0]==3 -> skip
#endif
       :: K_THAWS(0) -> K_LOSE(0)
       :: K_THAWS(1) -> K_LOSE(1)
       :: else ->
            con=1; cn[0]=2; cn[1]=2;
            K_CONNECT(0,s);
#if NV==2
            K_CONNECT(1,t);
#endif
            crp[0]=0; crp[1]=0; fz[0]=0; fz[1]=0;                        /* the kernel thaws on any reconnection */
            if :: tx[0]==TR1 -> tx[0]=TRX :: else fi; if :: tx[1]==TR1 -> tx[1]=TRX :: else fi
       fi;
       s=0; t=0 }
  /* resync done */
#define K_DONE(v,src) d_step { con && D(v,1-src)==INC && D(v,src)==UTD -> \
       D(v,1-src)=UTD; G(v,1-src)=G(v,src); N(v,src)=0 }
  :: K_DONE(0,0)
  :: K_DONE(0,1)
#if NV==2
  :: K_DONE(1,0)
  :: K_DONE(1,1)
#endif
#ifdef WIPE
  :: d_step { wipe==0 -> wipe=1; tx[0]=T0; tx[1]=T0; ox[0]=T0; ox[1]=T0 }      /* all of etcd is lost */
#endif
#ifdef ROLLBACK
  :: d_step { !taken && !back ->
       taken=1; moved=0; epmoved=0; seen[0]=0; seen[1]=0; smig=rmig; shold=0; sins[0]=ins[0]; sins[1]=ins[1] }
  :: d_step { taken && !back && moved && !seen[0] && alive[0] -> seen[0]=1 }   /* R6_note: Worker::note */
  :: d_step { taken && !back && moved && !seen[1] && alive[1] -> seen[1]=1 }
#ifdef LIMIT_UNSEEN
  :: d_step { taken && !back && moved ->
#else           /* every host has seen something newer: R6 can only know what was seen */
  :: d_step { taken && !back && moved && seen[0] && seen[1] ->
#endif
       back=1; rmig=smig; ins[0]=sins[0]; ins[1]=sins[1]; tx[0]=T0; tx[1]=T0; ox[0]=T0; ox[1]=T0;
       if :: shold==1 -> swap() :: else fi }
#endif
  od
}

init { d_step {
  SETI(0,1); SETI(1,1);
  D(0,0)=UTD; D(0,1)=UTD; G(0,0)=1; G(0,1)=1;
#if NV==2
  D(1,0)=UTD; D(1,1)=UTD; G(1,0)=1; G(1,1)=1;
#endif
  alive[0]=1; alive[1]=1; prim[0]=1; dom[0]=RUN };
  atomic { run Host(0); run Host(1); run Kernel() } }
