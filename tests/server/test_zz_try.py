from hypothesis import given, settings, strategies as st, note
from tests.server.virtual_cluster import *

@st.composite
def schedules(draw, longest=60):
    nodes = draw(st.integers(2,3))
    letters="abc"[:nodes]
    who = st.sampled_from(letters)
    sec = lambda a,b: st.integers(a*10,b*10).map(lambda x:x/10)
    outages = draw(st.lists(st.tuples(st.sampled_from(["cut","die","broker"]), who, sec(0,60), sec(1,longest)), max_size=4))
    events = draw(st.lists(st.tuples(sec(0,70), who, sec(0,2), who), min_size=1, max_size=12))
    return nodes, draw(st.sampled_from([1,2,4])), draw(st.integers(0,9)), outages, events

def play(c, outages, events):
    for n,(kind, who, start, length) in enumerate(outages):
        node=c.nodes[who]
        if kind=="cut": c.after(start,node.cut); c.after(start+length,node.mend)
        elif kind=="die": c.after(start,node.die); c.after(start+length,node.start)
        else: c.after(start,c.broker_down); c.after(start+length,c.broker_back)
    for n,(t,d,delay,r) in enumerate(events):
        c.after(t, lambda n=n,d=d,delay=delay,r=r: c.event(d,f"e{n}",delay,r))

@settings(max_examples=500, deadline=None)
@given(schedules())
def test_x(s):
    nodes,p,seed,outages,events=s
    c=Cluster(nodes,p,seed=seed)
    play(c,outages,events)
    c.run(130)
    c.settle(30)
    l=c.learners[0]
    k=l.counters
    assert k["late_rewards"]==k["dangling_rewards"]==0, k
    assert k["rewards"]==len(c.told)
    assert l.pending==0 and k["matured"]==k["decisions"]==len(c.decided), k
