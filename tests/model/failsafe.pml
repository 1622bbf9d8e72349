/* Time and S1: the host lease, the watchdog and the failsafe promise, in ticks. Host A runs the guest, host B may
   take it over; the replication link is cut, so that only time keeps the two apart. README.md says what stands for what.

   No step is forced, so etcd without quorum, a slow answer and a stopped process are all there; only time and the
   watchdog are strict. Ages are counted from the event and stop at the first value that no rule tells apart. */
#define R 2            /* renew_timeout */
#define W 2            /* watchdog */
#define X 1            /* reset_time */
#ifdef MUT_takeover_short
#define T (R+W)
#else
#define T (R+W+X)      /* F_takeover_time: core::least_takeover */
#endif
#define OLD (R+1)

/* the record */
bit holder_b; bit listed = 1;      /* listed: B's leg is in sync by the record */
bit addf;                          /* an add-back of B is in flight */
/* A */
bit run_a = 1;
bit st;                            /* libvirt is starting A's guest: not there yet, and counted as if it were */
byte wd = W;        /* ticks until the watchdog fires */
byte dying;                        /* ticks until a reset has ended the guest; 0: not being reset */
byte pa; byte pp = OLD;            /* age, from the sending, of the newest renewal and of the newest promise */
byte rn; byte rs;                  /* a renewal: 0 none, 1 on its way, 2 committed and not answered; its age */
byte pm; byte ps;                  /* a promise: 0 none, 1 asked, 2 given and not heard; its age */
bit pet;                           /* a pet was decided and not yet made */
byte va = 1;                       /* what A knows of the record: 0 alone, 1 B is listed, 2 nothing since hostd started,
                                      3 alone by the view, but an earlier hostd's write may be on its way */
bit ka;                            /* A remembers an add-back of its own that has no definite end */
bit nb = 1;                        /* A's durable note: B is listed, or a write of A's that is out may list it */
/* B */
byte ab;                           /* absence of change of A's lease, on B's clock */
bit unseen;                        /* A's lease has changed and B's watch has not told */
bit op;                            /* a failover is planned, at work or of unknown outcome */
bit tf; bit fresh;                 /* its transaction is in flight; its compares (lease, record) would still hold */
bit run_b;

#define ON (run_a || st)
#define PROOF (pa<=R || pp<=R)
/* F_who_must_promise: Guardian::guarded, core::guard */
#ifdef MUT_no_record               /* before the record was read nobody is thought of */
#define NOBODY2 (va==2)
#else
#define NOBODY2 (va==2 && !nb)
#endif
#ifdef MUT_orphan_add              /* an add-back of an earlier hostd is not reckoned with */
#define NOBODY3 (va==3)
#else
#define NOBODY3 (va==3 && !nb)
#endif
#define NOBODY (va==0 || NOBODY2 || NOBODY3)
#ifdef MUT_add_back_uncovered
#define ADDING 0
#else
#define ADDING ka
#endif
#define MAY_PET (PROOF || (NOBODY && !ADDING))

#define OLDER(x,n) x=(x<(n) -> x+1 : x)

active proctype World() {
end: do
  /* ---- time ---- */
  :: d_step { 1 ->
       OLDER(pa,OLD); OLDER(pp,OLD); OLDER(rs,OLD); OLDER(ps,OLD); OLDER(ab,T);
       if
       :: dying==1 -> dying=0; run_a=0; st=0
       :: dying>1 -> dying--
       :: else ->
          if :: ON -> wd--; if :: wd==0 -> dying=X :: else fi :: else fi
       fi;
       if :: !ON -> pet=0; wd=W; rn=0; rs=0; pm=0; ps=0; pa=OLD; pp=OLD; ka=0; va=2 :: else fi }

  /* ---- A renews its lease: Guardian::renew ---- */
  :: d_step { rn==0 -> rn=1; rs=0 }
  :: d_step { rn==1 -> rn=2; unseen=1; fresh=0 }                         /* committed */
  :: d_step { rn==2 -> rn=0;                                             /* L_first_send */
#ifdef MUT_renewal_from_answer
       pa=0; rs=0 }
#else
       pa=(rs<pa -> rs : pa); rs=0 }
#endif
#ifdef MUT_renewal_from_last_send
  :: d_step { rn!=0 -> rs=0 }                                            /* sent again, counted anew */
#endif
  :: d_step { rn!=0 -> rn=0; rs=0 }                                      /* given up */

  /* ---- the watchdog: Guardian::look ---- */
  :: d_step { ON && dying==0 && !pet && MAY_PET -> pet=1 }
  :: d_step { ON && dying==0 && pet -> pet=0;
#ifndef MUT_late_pet
       /* L_late_pet: petted too late, reset at once */
       if :: MAY_PET -> wd=W :: else -> dying=X fi }
#else
       wd=W }
#endif
#ifdef MUT_pet_without_proof
  :: d_step { ON && dying==0 -> wd=W }
#endif

  /* ---- failsafe: Guardian::ask, Guardian::promise ---- */
  :: d_step { ON && pm==0 -> pm=1; ps=0 }
#ifdef MUT_promise_while_taking
  :: d_step { pm==1 ->
#else
  :: d_step { pm==1 && !op ->                                            /* F_refuse */
#endif
       pm=2;
#ifndef MUT_promise_keeps_timer
       ab=0                                                              /* F_restart_timer */
#endif
     }
  :: d_step { pm==2 -> pm=0;                                             /* F_from_sending */
#ifdef MUT_promise_from_receipt
       pp=0; ps=0 }
#else
       pp=(ps<pp -> ps : pp); ps=0 }
#endif
  :: d_step { pm!=0 -> pm=0; ps=0 }

  /* ---- the record, written by A ---- */
  /* F_renewed: a leg is added back, and a guest started, only while the own lease is freshly renewed: else B's timer
     may have run out long ago, and the last pet was made while nobody could take over */
#ifdef MUT_add_back_unrenewed
#define ADD_RENEWED 1
#else
#define ADD_RENEWED (pa<=R)
#endif
#ifdef MUT_note_after              /* the note is kept only when the write has ended */
#define NOTE_FIRST skip
#else
#define NOTE_FIRST nb=1            /* F_note_first: core::noted_adding */
#endif
  :: d_step { run_a && !holder_b && !listed && !addf && (va==0 || va==3) && ADD_RENEWED ->
       NOTE_FIRST; addf=1; ka=1 }                                        /* R3 */
  :: d_step { addf -> addf=0; if :: !holder_b -> listed=1; fresh=0 :: else fi }
  :: d_step { ka && !addf && va!=2 -> ka=0; va=listed; nb=listed }       /* its end is known */
  :: d_step { run_a && va!=2 && !holder_b && listed -> listed=0; addf=0; fresh=0; va=0; ka=0; nb=0 }  /* R1, R4 */
  /* F_settle: a write of its own settles older ones */
  :: d_step { run_a && va==3 && !holder_b -> addf=0; fresh=0; va=listed; nb=listed }
  :: d_step { run_a && va==2 -> va=(listed || holder_b -> 1 : 3); nb=(listed -> 1 : nb) }       /* the record is read */
  :: d_step { run_a && va==1 && !listed && !holder_b && !ka -> va=3 }
  /* hostd dies and starts again: the watchdog goes on, what it knew is gone */
  :: d_step { run_a && dying==0 -> pa=OLD; pp=OLD; rn=0; rs=0; pm=0; ps=0; pet=0; ka=0; va=2 }
  /* the host comes back, renews first, then claims a start */
#ifdef MUT_start_unrenewed         /* nothing between the claim and the start asks for it */
#define START_RENEWED 1
#else
#define START_RENEWED (pa<=R)
#endif
  :: d_step { !ON && !holder_b && START_RENEWED ->
       st=1; wd=W; dying=0; va=(listed -> 1 : 0); fresh=0; addf=0; nb=listed }
  /* F_beginning: from that look on the watchdog is petted as with the guest, however long libvirt takes */
#ifdef MUT_start_uncounted
  :: d_step { st && dying==0 -> wd=W }
#endif
  :: d_step { st && dying==0 -> st=0; run_a=1; assert(!run_b) }

  /* ---- B: core::may_take_over, steps/failover.cpp ---- */
  :: d_step { unseen -> unseen=0; ab=0 }                                 /* the watch tells */
  :: d_step { !op && !holder_b && ab>=T -> op=1 }
#ifdef MUT_take_without_absence
  :: d_step { op && !tf && !holder_b -> tf=1; fresh=!unseen }
#elif defined(MUT_no_recheck)
  :: d_step { op && !tf && !holder_b && ab>=0 -> tf=1; fresh=!unseen }
#else
  :: d_step { op && !tf && !holder_b && ab>=T -> tf=1; fresh=!unseen }   /* R2_take: revisions read before the check */
#endif
#ifdef MUT_no_lease_compare
  :: d_step { tf -> tf=0; if :: listed && !holder_b -> holder_b=1; addf=0 :: else fi }
#else
  :: d_step { tf -> tf=0; if :: fresh && listed && !holder_b -> holder_b=1; addf=0 :: else fi }   /* R2_lease */
#endif
  :: d_step { op && !tf && !holder_b -> op=0 }                           /* a definite no */
#ifdef MUT_unknown_is_no
  :: d_step { op && tf -> op=0 }
#endif
  :: d_step { holder_b && !run_b -> assert(!run_a); run_b=1 }            /* S1 */
  /* B's hostd dies and starts again; its failover is in the journal */
  :: d_step { !run_b ->
#ifdef MUT_timer_survives
       ab=T
#else
       ab=0                                                              /* F_timer_from_start */
#endif
#ifdef MUT_forgets_takeover
       ; op=0
#endif
     }
  od
}
